"""Whether this tree is a version, and its notes: ``python deploy/release.py X.Y.Z``.

Ends with status 1 and says why where pyproject has another version, the changelog has no section of it, or
the contract of its events was not kept.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


def faults_of(root: Path, version: str) -> list[str]:
    """What is missing for this version, in words."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    faults = []
    if project["version"] != version:
        faults.append(f"pyproject.toml has version {project['version']}, not {version}")
    if not notes_of((root / "CHANGELOG.md").read_text(encoding="utf-8"), version):
        faults.append(f"CHANGELOG.md has no section [{version}], or nothing in it")
    if not (root / "docs" / "events" / "released" / f"{version}.json").is_file():
        faults.append(f"docs/events/released has no {version}.json: make contracts ARGS=--release")
    return faults


def notes_of(changelog: str, version: str) -> str:
    """The text of a version's section, without its heading; empty where there is none."""
    section = re.compile(rf"^## \[{re.escape(version)}\][^\n]*\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    found = section.search(changelog)
    return found[1].strip() if found else ""


def main(version: str) -> int:
    """The status to end with."""
    faults = faults_of(ROOT, version)
    for fault in faults:
        print(fault, file=sys.stderr)
    if not faults:
        print(notes_of((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
