"""What the documents say about settings, commands, alerts and one another is so."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic_settings import BaseSettings
from typer.core import TyperGroup
from typer.main import get_command

from orderctl.cli import app
from shared.services import SERVICES
from shared.settings import CommonSettings, TlsSettings
from tests.harness.settings import settings_of, variables

ROOT = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
TYPED = re.compile(r"(?:\.venv/bin/|exec [\w=:./ -]*)orderctl ([^`\n|#;]*)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SETTINGS: tuple[type[BaseSettings], ...] = (CommonSettings, TlsSettings, *map(settings_of, SERVICES.values()))


@pytest.mark.parametrize("document", [".env.example", "docs/settings.md"])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda each: each.__name__)
def test_every_setting_is_documented(document: str, settings: type[BaseSettings]) -> None:
    """A setting that nobody can find out about is a bug."""
    text = (ROOT / document).read_text()
    assert {name for name in variables(settings) if name not in text} == set()


def test_the_example_sets_nothing_that_is_not_read() -> None:
    """What .env.example offers exists."""
    known = {name for settings in SETTINGS for name in variables(settings)}
    lines = (ROOT / ".env.example").read_text().splitlines()
    offered = {
        line.lstrip("# ").partition("=")[0]
        for line in lines
        if "=" in line and " " not in line.partition("=")[0]
    }
    assert offered - known == set()


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda each: each.__name__)
def test_the_example_shows_the_defaults(
    settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied as it is, .env.example changes nothing."""
    for name in variables(settings):
        monkeypatch.delenv(name, raising=False)
    assert settings(_env_file=ROOT / ".env.example") == settings(_env_file=None)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_in_the_documents_exists(document: str) -> None:
    """With each of its options: what is read there can be typed."""
    wrong = [line for line in TYPED.findall((ROOT / document).read_text()) if not _is_known(line)]
    assert wrong == []


def _is_known(line: str) -> bool:
    words = shlex.split(line.split(" && ", maxsplit=1)[0])
    command: Any = get_command(app)
    while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
        context = command.make_context("", [], resilient_parsing=True)
        command = command.resolve_command(context, [words.pop(0)])[1]
    if command is None:
        return False
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return all(word.partition("=")[0] in {*options, "--help"} for word in words if word.startswith("-"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_in_the_documents_leads_somewhere(document: str) -> None:
    """To a file of this tree, and to a heading of it where one is named."""
    text, folder = (ROOT / document).read_text(), (ROOT / document).parent
    wrong = []
    for link in LINK.findall(text):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        path = folder / name if name else ROOT / document
        if not path.exists() or (heading and heading not in _headings(path.read_text())):
            wrong.append(link)
    assert wrong == []


def _headings(text: str) -> set[str]:
    """As they stand in addresses."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_alert_has_its_remedy() -> None:
    """Who is woken by one finds it in the guide."""
    groups = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    guide = (ROOT / "docs/operate.md").read_text()
    assert {alert for alert in alerts if f"`{alert}`" not in guide} == set()
