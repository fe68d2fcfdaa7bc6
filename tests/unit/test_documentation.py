"""What the documents say about settings is what the code reads."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from shared.services import SERVICES
from shared.settings import CommonSettings
from tests.harness.settings import settings_of, variables

ROOT = Path(__file__).parents[2]
SETTINGS: tuple[type[BaseSettings], ...] = (CommonSettings, *map(settings_of, SERVICES.values()))


@pytest.mark.parametrize("document", [".env.example", "README.md"])
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
