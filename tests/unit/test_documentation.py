"""What the documents say about settings is what the code reads."""

from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from api_gateway.settings import GatewaySettings
from dashboard.settings import DashboardSettings
from notifier.settings import NotifierSettings
from order_processor.settings import ProcessorSettings
from shared.settings import CommonSettings

ROOT = Path(__file__).parents[2]
SETTINGS = (CommonSettings, GatewaySettings, ProcessorSettings, NotifierSettings, DashboardSettings)


def variables(settings: type[BaseSettings]) -> set[str]:
    """The environment variables that a settings class reads."""
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{field}".upper() for field in settings.model_fields}


@pytest.mark.parametrize("document", [".env.example", "README.md"])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda each: each.__name__)
def test_every_setting_is_documented(document: str, settings: type[BaseSettings]) -> None:
    """A setting that nobody can find out about is a bug."""
    text = (ROOT / document).read_text()
    assert {name for name in variables(settings) if name not in text} == set()


def test_the_example_sets_nothing_that_is_not_read() -> None:
    """What .env.example offers exists, with the default that it shows."""
    known = {name for settings in SETTINGS for name in variables(settings)}
    lines = (ROOT / ".env.example").read_text().splitlines()
    offered = {
        line.lstrip("# ").partition("=")[0]
        for line in lines
        if "=" in line and " " not in line.partition("=")[0]
    }
    assert offered - known == set()
