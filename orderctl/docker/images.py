"""Which image stands for what: docker-compose.yml says so once, and the environment may say otherwise."""

import os
import re
from collections.abc import Mapping
from functools import cache

from orderctl.native.layout import project_root

PIPELINE_IMAGE = "PIPELINE_IMAGE"

_DEFAULT = re.compile(r"\$\{(\w+_IMAGE):-([^}]+)\}")


def image(variable: str) -> str:
    """The image behind a variable such as RABBITMQ_IMAGE; raises KeyError for one that compose lacks."""
    return os.environ.get(variable) or pinned_images()[variable]


@cache
def pinned_images() -> Mapping[str, str]:
    """Each variable that docker-compose.yml takes an image from, with the image that it pins."""
    text = (project_root() / "docker-compose.yml").read_text(encoding="utf-8")
    return dict(_DEFAULT.findall(text))
