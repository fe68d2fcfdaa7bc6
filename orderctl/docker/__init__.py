"""The pipeline in containers: the project's own docker-compose.yml, driven through ``docker compose``."""

from typing import Final

DEFAULT_PASSWORD: Final = "pipeline"  # noqa: S105 - compose's own, on loopback
