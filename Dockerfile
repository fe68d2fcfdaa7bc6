# One image for all services and orderctl:  docker build -t order-pipeline:local .
#
# Where no package index can be reached from a build, put the wheels into ./wheels first (deploy/offline/wheels fetches them).
ARG PYTHON_IMAGE=python:3.13.5-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# Wheels only, so that the image needs no compiler in any stage; hashes checked, wherever a wheel came from.
COPY requirements.lock requirements-dev.lock wheels* ./wheels/
RUN set -eu; \
    if ls wheels/*.whl >/dev/null 2>&1; then offline='--no-index --find-links wheels'; else offline=; fi; \
    sed -n '/^setuptools==/,/# via/p' wheels/requirements-dev.lock >backend.lock; \
    python -m venv /opt/build; \
    /opt/build/bin/pip install $offline --require-hashes --only-binary :all: -r backend.lock; \
    python -m venv --without-pip /opt/venv; \
    /opt/build/bin/pip --python /opt/venv install $offline --require-hashes --only-binary :all: -r wheels/requirements.lock
COPY . ./source/
RUN set -eu; \
    /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist ./source; \
    /opt/build/bin/pip --python /opt/venv install --no-index --no-deps dist/*.whl; \
    install -m 755 source/deploy/ready.py /opt/venv/bin/ready

FROM ${PYTHON_IMAGE}
RUN groupadd --system --gid 10001 pipeline && useradd --system --uid 10001 --gid pipeline --no-create-home --home-dir /nonexistent pipeline
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LOG_FORMAT=json
WORKDIR /srv
USER 10001:10001
STOPSIGNAL SIGTERM
# `ready` asks the service in this container, on its operations port, which READY_PORT names; without it there is nothing to ask.
HEALTHCHECK --interval=3s --timeout=3s --start-period=30s --retries=3 CMD ["ready"]
CMD ["orderctl", "--help"]
# What it was built from, so that `orderctl up` can tell an image of other sources.
ARG SOURCE_DIGEST
LABEL order-pipeline.source=${SOURCE_DIGEST}
