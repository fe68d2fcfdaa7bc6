"""The pipeline in containers: the project's own docker-compose.yml, driven through ``docker compose``."""
