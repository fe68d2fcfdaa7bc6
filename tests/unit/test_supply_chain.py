"""What is built in, and how a version is made: locked, pinned, looked through, and told."""

import json
import re
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from deploy import release, supply_chain
from deploy.release import faults_of, notes_of
from deploy.supply_chain import Audit, audit_of

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_of_others_are_pinned_to_a_commit(workflow: Path) -> None:
    """A tag can be moved by whoever takes the repository over; beside it stands which version it is."""
    used = re.findall(r"uses: (.+)", workflow.read_text())
    pinned = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
    assert used
    assert [each for each in used if not pinned.fullmatch(each)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_read_and_no_more_unless_a_job_says_so(workflow: Path) -> None:
    """A step that goes wrong can then change nothing."""
    assert "\npermissions:\n  contents: read\n" in workflow.read_text()


def test_what_is_known_against_a_library_is_told_with_its_remedy() -> None:
    """And what was not asked about is no clean bill."""
    report = {
        "dependencies": [
            {"name": "fine", "version": "1", "vulns": []},
            {"name": "old", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1", "3"]}]},
            {"name": "worse", "version": "4", "vulns": [{"id": "CVE-2", "fix_versions": []}]},
            {"name": "unknown", "skip_reason": "not found"},
        ]
    }
    known = ["old 2: CVE-1, mended in 2.1, 3", "worse 4: CVE-2, mended in none"]
    assert audit_of(report) == Audit(asked=3, not_asked=1, vulnerabilities=known)


# --- the statuses that it ends with, with its tools replaced by what they once said ------------------------

FINE: Final = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
OLD: Final = {
    "name": "aiohttp",
    "version": "3.8.0",
    "vulns": [{"id": "PYSEC-2023-120", "fix_versions": ["3.8.5"]}],
}
UNKNOWN: Final = {
    "name": "aiohttp",
    "skip_reason": "Dependency not found in the index and could not be audited: aiohttp (3.14.5)",
}
AWAY: Final = "ProxyError: HTTPSConnectionPool(host='index.example', port=443): Max retries exceeded"


def put_tools(folder: Path, *libraries: Any, bandit_status: int = 0) -> None:
    """Where the script finds them; a pip-audit that is told of no libraries says why on stderr alone."""
    report, bill = folder / "report.json", folder / "bill.json"
    report.write_text(json.dumps({"dependencies": libraries, "fixes": []}) if libraries else "")
    bill.write_text('{"components": [{"name": "aiohttp"}]}')
    scripts = {
        "bandit": f"exit {bandit_status}",
        "cyclonedx-py": f'for last; do :; done; cp "{bill}" "$last"',
        "pip-audit": f"cat '{report}'; echo \"{AWAY}\" >&2; exit 1",
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    ("libraries", "bandit_status", "status", "words"),
    [
        ([FINE], 0, 0, "1 libraries asked about, 0 vulnerabilities known"),
        ([FINE, OLD], 0, 1, "aiohttp 3.8.0: PYSEC-2023-120, mended in 3.8.5"),
        ([FINE], 1, 1, "0 vulnerabilities known"),
        ([UNKNOWN], 0, 3, "1 libraries NOT ASKED about"),
        ([UNKNOWN, OLD], 0, 1, "1 libraries NOT ASKED about"),
        ([UNKNOWN], 1, 1, "1 libraries NOT ASKED about"),
        ([], 0, 3, f"NOT ASKED about: {AWAY}"),
    ],
    ids=["clean", "known", "code", "not asked", "known, not asked", "code, not asked", "no network"],
)
def test_the_status_says_whether_it_is_clean(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    libraries: list[Any],
    bandit_status: int,
    status: int,
    words: str,
) -> None:
    """What is found counts for more than what could not be asked about, and that is no clean bill."""
    put_tools(tmp_path, *libraries, bandit_status=bandit_status)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert supply_chain.main(tmp_path / "reports") == status
    told = capsys.readouterr()
    assert words in told.out + told.err
    assert (tmp_path / "reports" / "sbom.cdx.json").is_file()


CHANGELOG = """# Changelog

## [Unreleased]

- Not yet.

## [1.2.0] - 2026-11-29

### Added

- Something.

## [1.1.0]
"""


def tree(root: Path, *, version: str = "1.2.0", contract: str = "1.2.0") -> Path:
    """A checkout as far as a release looks at it."""
    (root / "pyproject.toml").write_text(f'[project]\nname = "tried"\nversion = "{version}"\n')
    (root / "CHANGELOG.md").write_text(CHANGELOG)
    released = root / "docs" / "events" / "released"
    released.mkdir(parents=True)
    (released / f"{contract}.json").write_text("{}")
    return root


def test_a_version_whose_parts_agree_is_released_with_its_notes(tmp_path: Path) -> None:
    """Those of its own section."""
    assert faults_of(tree(tmp_path), "1.2.0") == []
    assert notes_of(CHANGELOG, "1.2.0") == "### Added\n\n- Something."


def test_each_part_that_does_not_agree_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is built: the workflow's step ends with status 1."""
    root = tree(tmp_path, version="1.1.9", contract="1.0.0")
    monkeypatch.setattr(release, "ROOT", root)
    assert (release.main("1.1.0"), capsys.readouterr().out) == (1, "")
    project, changelog, contract = faults_of(root, "1.1.0")
    assert project == "pyproject.toml has version 1.1.9, not 1.1.0"
    assert "no section [1.1.0], or nothing in it" in changelog
    assert "no 1.1.0.json" in contract
