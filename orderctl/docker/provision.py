"""What containers need before they can run: an engine, compose, and images, some of which are made here."""

from collections.abc import Mapping
from pathlib import Path

from orderctl.docker import engine
from orderctl.docker.compose import Compose
from orderctl.docker.images import PIPELINE_IMAGE, pinned_images, source_digest
from orderctl.environment import operator_settings
from orderctl.errors import ModeUnavailableError, PartFailedError
from orderctl.native.layout import project_root
from orderctl.programs import succeeds
from orderctl.progress import Progress, Step, StepState

BUILD_SECONDS = 1_200.0
PULL_SECONDS = 600.0
OFFLINE_ADVICE = "pull them, or build them from Debian packages as root: deploy/offline/build"
_OPTIONAL = ("PROMETHEUS_IMAGE", "GRAFANA_IMAGE", "JAEGER_IMAGE")  # of profiles that nobody has to use
_ONLY_TO_BUILD = "PYTHON_IMAGE"
SOURCE_LABEL = "order-pipeline.source"


def is_offered() -> bool:
    """Whether `auto` may take docker: engine and compose answer, and the images are there or can be had."""
    if engine.engine_version() is None or engine.compose_version() is None:
        return False
    return all(engine.can_be_pulled(name) for name in engine.missing_images(_needed()))


def ensure_engine() -> None:
    """Raises ModeUnavailableError where no containers can be run."""
    if engine.engine_version() is None:
        raise ModeUnavailableError(
            "no Docker engine answers", advice="start one, or choose another mode: orderctl up --mode native"
        )
    if engine.compose_version() is None:
        raise ModeUnavailableError(
            "`docker compose` is not there", advice="install the plugin, or deploy/offline/engine does it"
        )


def ensure_images(compose: Compose, progress: Progress, log: Path) -> None:
    """Build our own image unless it is there and of these sources, pull the others; raises OrderctlError."""
    ours = _image(PIPELINE_IMAGE)
    is_to_be_built = _is_to_be_built()
    needed = [name for name in engine.missing_images(compose.images()) if name != ours]
    if is_to_be_built:
        needed += engine.missing_images([_image(_ONLY_TO_BUILD)])
    for name in needed:
        _run(["docker", "pull", "--quiet", name], name, "pulling", progress, log)
    if is_to_be_built:
        _build(compose, ours, progress, log)


def _is_to_be_built() -> bool:
    """Whether our own image is missing or of other sources; one that somebody named is taken as it is."""
    ours = _image(PIPELINE_IMAGE)
    if operator_settings().get(PIPELINE_IMAGE):
        return bool(engine.missing_images([ours]))
    return engine.label_of(ours, SOURCE_LABEL) != source_digest(project_root())


def _build(compose: Compose, ours: str, progress: Progress, log: Path) -> None:
    """Build from a package index or, where containers reach none, from wheels that pip fetches here."""
    build = compose.command("build", "api_gateway")
    if not (project_root() / "wheels").is_dir():
        progress(Step(name=ours, state=StepState.WORKING, detail="building"))
        if succeeds(build, log, seconds=BUILD_SECONDS, environment=compose.environment()):
            progress(Step(name=ours, state=StepState.DONE, detail="building done"))
            return
    _run([str(project_root() / "deploy/offline/wheels")], "wheels", "fetching", progress, log)
    _run(build, ours, "building", progress, log, compose.environment())


def _needed() -> list[str]:
    """What must be there already or be pulled: without our own image, what it is built from."""
    not_run = (*_OPTIONAL, _ONLY_TO_BUILD, PIPELINE_IMAGE)
    names = [_image(name) for name in pinned_images() if name not in not_run]
    return [*names, _image(_ONLY_TO_BUILD)] if _is_to_be_built() else names


def _image(variable: str) -> str:
    return operator_settings().get(variable) or pinned_images()[variable]


def _run(
    command: list[str],
    name: str,
    doing: str,
    progress: Progress,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> None:
    progress(Step(name=name, state=StepState.WORKING, detail=doing))
    seconds = PULL_SECONDS if doing == "pulling" else BUILD_SECONDS
    if not succeeds(command, log, seconds=seconds, environment=environment):
        progress(Step(name=name, state=StepState.FAILED, detail=doing))
        advice = OFFLINE_ADVICE if doing == "pulling" else None
        raise PartFailedError(f"{doing} {name} failed", log=log, advice=advice)
    progress(Step(name=name, state=StepState.DONE, detail=f"{doing} done"))
