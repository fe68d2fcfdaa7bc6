"""What the pipeline is built from, and what is known against it: ``python deploy/supply_chain.py [FOLDER]``.

Looks through the services' own code with bandit, asks for known vulnerabilities of every locked library with
pip-audit, and writes a bill of materials (CycloneDX, JSON) into FOLDER, ``reports`` unless named. Ends with
status 1 where something is found, and with 3 where no database of vulnerabilities could be reached, so that
nothing was asked.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shared.services import SERVICES

ROOT: Final = Path(__file__).parents[1]
LOCKS: Final = ("requirements.lock", "requirements-dev.lock", "requirements-bench.lock")
FOUND, NOT_ASKED = 1, 3


@dataclass(frozen=True, slots=True)
class Audit:
    """What was told of a lock: how many libraries were asked about, how many were not, and what is known."""

    asked: int
    not_asked: int
    vulnerabilities: Sequence[str]


def audit_of(report: dict[str, Any]) -> Audit:
    """Reads pip-audit's JSON."""
    libraries = report["dependencies"]
    known = [
        f"{each['name']} {each['version']}: {fault['id']}, "
        f"mended in {', '.join(fault['fix_versions']) or 'none'}"
        for each in libraries
        for fault in each.get("vulns", ())
    ]
    skipped = sum("skip_reason" in each for each in libraries)
    return Audit(asked=len(libraries) - skipped, not_asked=skipped, vulnerabilities=known)


def ask_about(lock: str) -> Audit:
    """pip-audit's answer. Raises RuntimeError where it gives none."""
    options = ("--requirement", lock, "--disable-pip", "--require-hashes", "--format", "json")
    answer = _run("pip-audit", *options, "--progress-spinner", "off")
    if not answer.stdout.strip():
        raise RuntimeError(answer.stderr.strip().rpartition("\n")[2] or "pip-audit said nothing")
    return audit_of(json.loads(answer.stdout))


def _run(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).parent / tool), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def look_through_code() -> int:
    """Bandit's status, which says what it finds of medium severity or more; ruff's rules see the rest."""
    looked = _run("bandit", "--quiet", "-ll", "--recursive", *SERVICES, "shared", "orderctl", "deploy")
    print(looked.stdout.strip() if looked.returncode else "code: nothing of medium severity or more (bandit)")
    return looked.returncode


def write_bill(folder: Path) -> None:
    """Raises RuntimeError."""
    folder.mkdir(parents=True, exist_ok=True)
    bill = folder / "sbom.cdx.json"
    options = ("--pyproject", "pyproject.toml", "--of", "JSON", "--output-reproducible")
    written = _run("cyclonedx-py", "requirements", LOCKS[0], *options, "--output-file", str(bill))
    if written.returncode:
        raise RuntimeError(written.stderr.strip())
    libraries = len(json.loads(bill.read_text())["components"])
    print(f"bill of materials: {bill}, {libraries} libraries (CycloneDX)")


def ask_and_tell(lock: str) -> int:
    """The status that a lock gives, once it was told in words."""
    try:
        audit = ask_about(lock)
    except RuntimeError as error:
        print(f"{lock}: NOT ASKED about: {error}")
        return NOT_ASKED
    for each in audit.vulnerabilities:
        print(f"{lock}: {each}", file=sys.stderr)
    known = len(audit.vulnerabilities)
    print(f"{lock}: {audit.asked} libraries asked about, {known} vulnerabilities known")
    if audit.not_asked:
        print(f"{lock}: {audit.not_asked} libraries NOT ASKED about: no database knows them or answers")
    if known:
        return FOUND
    return NOT_ASKED if audit.not_asked else 0


def main(folder: Path) -> int:
    """The status to end with."""
    looked = FOUND if look_through_code() else 0
    write_bill(folder)
    statuses = {looked, *map(ask_and_tell, LOCKS)}
    return FOUND if FOUND in statuses else max(statuses)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "reports").resolve()))
