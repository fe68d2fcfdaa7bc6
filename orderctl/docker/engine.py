"""Whether containers can be run here: an engine that answers, the compose plugin, and the images."""

from collections.abc import Iterable, Sequence

from orderctl.errors import PartFailedError
from orderctl.programs import output_of

ANSWER_SECONDS = 10.0


def engine_version() -> str | None:
    """The version of the engine that answers; None where none does, whether or not `docker` is installed."""
    return _ask(["docker", "info", "--format", "{{.ServerVersion}}"])


def compose_version() -> str | None:
    """The version of the compose plugin; None where `docker compose` does not exist."""
    return _ask(["docker", "compose", "version", "--short"])


def missing_images(names: Iterable[str]) -> list[str]:
    """Those that the engine does not hold."""
    return [name for name in names if _ask(["docker", "image", "inspect", "--format", "ok", name]) is None]


def label_of(image: str, label: str) -> str | None:
    """What an image that the engine holds is labelled with; None without the label or the image."""
    return _ask(["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{label}"}}}}', image])


def can_be_pulled(name: str) -> bool:
    """Whether a registry has the image, which is asked without fetching it."""
    return _ask(["docker", "manifest", "inspect", name]) is not None


def _ask(command: Sequence[str]) -> str | None:
    try:
        return output_of(command, seconds=ANSWER_SECONDS, called="docker").strip() or None
    except PartFailedError:
        return None
