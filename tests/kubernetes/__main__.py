"""``python -m tests.kubernetes``: the gate of ``make check``. Prints each fault on a line."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.kubernetes import network, platform, schemas, workloads
from tests.kubernetes.kustomize import CannotBuild, Manifest, build
from tests.kubernetes.objects import Objects

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "kubernetes"
BASE: Final = FOLDER / "base"
OVERLAYS: Final = tuple(sorted((FOLDER / "overlays").iterdir()))


def held_to_the_code(manifests: list[Manifest]) -> Iterator[str]:
    """What is not as the registry of services and the settings have it."""
    objects = Objects(manifests)
    for look in (workloads.faults, platform.faults, network.faults):
        yield from look(objects)


def main() -> int:
    """The exit status."""
    found: list[str] = []
    for folder in OVERLAYS:
        try:
            manifests = build(folder)
        except CannotBuild as error:
            found.append(str(error))
        else:
            found += [*schemas.faults(manifests), *held_to_the_code(manifests)]
    sys.stderr.writelines(f"kubernetes: {fault}\n" for fault in dict.fromkeys(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
