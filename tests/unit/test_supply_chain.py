"""What is built in, and how a version is made: locked, pinned, looked through, and told."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deploy import supply_chain
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


FINE = {"name": "fine", "version": "1", "vulns": []}
OLD = {"name": "old", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["2.1"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "no database answers"}


@pytest.mark.parametrize(
    ("code_status", "libraries", "status"),
    [(0, [FINE], 0), (0, [FINE, OLD], 1), (0, [UNKNOWN], 3), (0, [OLD, UNKNOWN], 1), (1, [FINE], 1)],
    ids=["clean", "a vulnerability", "nothing asked", "a vulnerability, not all asked", "code"],
)
def test_the_status_says_what_was_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code_status: int, libraries: list[Any], status: int
) -> None:
    """By what the tools answer: none is run here."""

    def answer(tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        if tool == "cyclonedx-py":
            Path(arguments[-1]).write_text(json.dumps({"components": []}))
        report = json.dumps({"dependencies": libraries}) if tool == "pip-audit" else ""
        return subprocess.CompletedProcess([tool], code_status if tool == "bandit" else 0, report, "")

    monkeypatch.setattr(supply_chain, "_run", answer)
    assert supply_chain.main(tmp_path) == status


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


def test_each_part_that_does_not_agree_is_named(tmp_path: Path) -> None:
    """Before anything is built."""
    project, changelog, contract = faults_of(tree(tmp_path, version="1.1.9", contract="1.0.0"), "1.1.0")
    assert project == "pyproject.toml has version 1.1.9, not 1.1.0"
    assert "no section [1.1.0], or nothing in it" in changelog
    assert "no 1.1.0.json" in contract
