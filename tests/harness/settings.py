"""The settings class of each service in the registry."""

from importlib import import_module

from pydantic_settings import BaseSettings

from shared.services import Service


def settings_of(service: Service) -> type[BaseSettings]:
    """The class whose variables begin with the service's prefix."""
    (found,) = (
        each
        for each in vars(import_module(f"{service.name}.settings")).values()
        if isinstance(each, type)
        and issubclass(each, BaseSettings)
        and each.model_config.get("env_prefix") == f"{service.prefix}_"
    )
    return found


def variables(settings: type[BaseSettings]) -> set[str]:
    """The environment variables that a settings class reads."""
    prefix = settings.model_config.get("env_prefix", "")
    return {f"{prefix}{field}".upper() for field in settings.model_fields}
