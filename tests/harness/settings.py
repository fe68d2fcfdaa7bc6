"""The settings of each service in the registry."""

from pydantic_settings import BaseSettings

from shared.service.program import program_of
from shared.services import Service


def settings_of(service: Service) -> type[BaseSettings]:
    """The class that the service reads its settings with."""
    settings: type[BaseSettings] = program_of(service.name).settings
    return settings


def variables(settings: type[BaseSettings]) -> set[str]:
    """The environment variables that a settings class reads."""
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{field}".upper() for field in settings.model_fields}
