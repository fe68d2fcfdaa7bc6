"""Which image stands for what: docker-compose.yml says so once, and the environment may say otherwise."""

import hashlib
import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

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


def source_digest(root: Path) -> str:
    """Stands for everything that our own image is built from, which is what `.dockerignore` lets in."""
    admitted = [
        line[1:].rstrip("/")
        for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!") and line != "!wheels/"
    ]
    files = [root / "Dockerfile", *(file for name in admitted for file in _files_of(root / name))]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(root)}\0{file.stat().st_size}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files_of(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc"]
