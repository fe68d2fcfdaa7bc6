# Everything here works on a fresh clone: the first target that needs `.venv` makes it from the hashed lock.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := $(VENV)/.bench
LOG := $(VENV)/install.log
COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.DEFAULT_GOAL := help
.PHONY: help up down test test-containers chaos upgrade-check bench check audit lint types architecture contracts kubernetes size format lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

up: $(READY) ## run the whole pipeline on this machine (ARGS="--mode native")
	@$(BIN)/orderctl up $(ARGS)

down: $(READY) ## stop it; its data stays (ARGS="--wipe" removes it)
	@$(BIN)/orderctl down $(ARGS)

test: $(READY) ## every test that this machine can run (ARGS="tests/unit -k order")
	@$(BIN)/python -m orderctl.native
	@$(BIN)/python -m pytest -n 2 --dist loadscope $(ARGS)

test-containers: $(READY) ## what needs brokers, on containers of RabbitMQ 4 and Redis 8 (ARGS="tests/failover")
	@$(BIN)/python -m pytest -n 2 --dist loadscope --cluster containers -m '(broker or failover or docker) and not native' $(ARGS)

chaos: $(READY) ## 10,000 simulated worlds, then faults under load with a report in reports/ (ARGS="--seed 7 --faults 60", "--orders 1000000 --faults 300")
	@$(BIN)/python -m orderctl.native
	@$(BIN)/python -m tests.simulator --seeds 0-9999
	@$(BIN)/python -m tests.simulator.cells --seeds 0-1999
	@$(BIN)/python -m tests.chaos $(ARGS)

upgrade-check: $(READY) ## services of an earlier commit replaced by these under load, then the verdict (ARGS="--from COMMIT --mode docker")
	@$(BIN)/python -m orderctl.native
	@$(BIN)/python -m tests.chaos.upgrade $(ARGS)

bench: $(BENCH) ## ratios to what this machine can do at most, with a report in reports/ (ARGS="--quick")
	@$(BIN)/python -m orderctl.native
	@$(BIN)/python -m benchmarks $(ARGS)

check: $(READY) ## lint, formatting, types, architecture rules, events and Kubernetes: all of them, even when one fails
	@$(MAKE) --no-print-directory --keep-going lint types architecture contracts kubernetes

audit: $(READY) ## bandit, known vulnerabilities of the locked libraries, and a bill of materials in reports/
	@$(BIN)/python deploy/supply_chain.py

lint: $(READY) ## ruff: rules and formatting
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --check . || { echo 'formatting: run `make format`' >&2; exit 1; }

types: $(READY) ## mypy, strict
	@$(BIN)/mypy

contracts: $(READY) ## what events promise, against what was released (ARGS="--write", "--release")
	@$(BIN)/python -m tests.contracts $(ARGS)

kubernetes: $(READY) ## what deploy/kubernetes says, against the schemas and the code
	@$(BIN)/python -m tests.kubernetes

architecture: $(READY) ## the dependency rule, by import-linter
	@$(BIN)/lint-imports --no-logo

size: $(READY) ## lines of code, without blanks, comments and docstrings (ARGS="COMMIT" for another commit)
	@$(BIN)/python -m tests.size $(ARGS)

format: $(READY) ## let ruff write the formatting and the safe fixes
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

lock: $(READY) ## write the lock files anew (UPGRADE=1 takes the newest versions)
	@$(COMPILE) --output-file requirements.lock
	@$(COMPILE) --group dev --constraint requirements.lock --output-file requirements-dev.lock
	@$(COMPILE) --group bench --constraint requirements-dev.lock --output-file requirements-bench.lock
	@echo 'requirements.lock, requirements-dev.lock and requirements-bench.lock are written; the next target installs from them'

clean: ## remove .venv, caches and build results; the pipeline's data stays
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(READY): requirements-dev.lock pyproject.toml
	@command -v '$(PYTHON)' >/dev/null || { \
		echo '$(PYTHON) is not on PATH: install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "$$('$(PYTHON)' --version 2>&1) does not fit: Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.12" >&2; exit 1; }
	@'$(PYTHON)' -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "$(PYTHON) has no venv module: on Debian and Ubuntu run apt-get install python3-venv, then make again" >&2; exit 1; }
	@echo "Making $(VENV) with $$('$(PYTHON)' --version) from requirements-dev.lock (about half a minute) ..."
	@'$(PYTHON)' -m venv '$(VENV)'
	@export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore; \
		{ '$(BIN)/python' -m pip install --require-hashes -r requirements-dev.lock \
		&& '$(BIN)/python' -m pip install --no-deps --no-build-isolation -e .; } >'$(LOG)' 2>&1 \
		|| { tail -n 20 '$(LOG)' >&2; echo '$(VENV) could not be made; the whole log is in $(LOG)' >&2; exit 1; }
	@touch '$(READY)'

$(BENCH): $(READY) requirements-bench.lock
	@PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_ROOT_USER_ACTION=ignore \
		'$(BIN)/python' -m pip install --quiet --require-hashes -r requirements-bench.lock
	@touch '$(BENCH)'
