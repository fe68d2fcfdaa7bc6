"""What containers need before they can run: an engine, compose, and images, some of which are made here."""

import subprocess
from pathlib import Path

from orderctl.docker import engine
from orderctl.docker.compose import Compose, settings
from orderctl.docker.images import PIPELINE_IMAGE, pinned_images
from orderctl.errors import ModeUnavailableError, OrderctlError, PartFailedError
from orderctl.progress import Progress, Step, StepState

BUILD_SECONDS = 1_200.0
PULL_SECONDS = 600.0
OFFLINE_ADVICE = "pull them, or build them from Debian packages as root: deploy/offline/build"
_OPTIONAL = ("PROMETHEUS_IMAGE", "GRAFANA_IMAGE")  # of a profile that nobody has to use
_ONLY_TO_BUILD = "PYTHON_IMAGE"


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
    """Build our own image where it is missing, and pull the others; raises OrderctlError."""
    missing = engine.missing_images(compose.images())
    if not missing:
        return
    ours = _image(PIPELINE_IMAGE)
    needed = [name for name in missing if name != ours]
    if ours in missing:
        needed += engine.missing_images([_image(_ONLY_TO_BUILD)])
    for name in needed:
        _run(["docker", "pull", "--quiet", name], name, "pulling", progress, log)
    if ours in missing:
        _run(compose.command("build", "api_gateway"), ours, "building", progress, log)


def _needed() -> list[str]:
    """What must be there already or be pulled: without our own image, what it is built from."""
    not_run = (*_OPTIONAL, _ONLY_TO_BUILD, PIPELINE_IMAGE)
    names = [_image(name) for name in pinned_images() if name not in not_run]
    has_ours = not engine.missing_images([_image(PIPELINE_IMAGE)])
    return names if has_ours else [*names, _image(_ONLY_TO_BUILD)]


def _image(variable: str) -> str:
    return settings().get(variable) or pinned_images()[variable]


def _run(command: list[str], name: str, doing: str, progress: Progress, log: Path) -> None:
    progress(Step(name=name, state=StepState.WORKING, detail=doing))
    seconds = BUILD_SECONDS if doing == "building" else PULL_SECONDS
    with log.open("ab") as output:
        try:
            result = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise OrderctlError(f"{doing} {name}: {error}", log=log) from error
    if result.returncode:
        progress(Step(name=name, state=StepState.FAILED, detail=doing))
        advice = OFFLINE_ADVICE if doing == "pulling" else None
        raise PartFailedError(f"{doing} {name} failed", log=log, advice=advice)
    progress(Step(name=name, state=StepState.DONE, detail=f"{doing} done"))
