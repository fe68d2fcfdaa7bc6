"""Conditional requests: the version of a resource as its ``ETag``, and what clients say that they have."""

import re
from collections.abc import Collection
from typing import Final

from aiohttp import web

ANY: Final = "*"
_TAG: Final = re.compile(r'(W/)?"([^"]*)"')
_VERSION: Final = re.compile(r"[1-9][0-9]{0,17}")


def etag(version: int) -> str:
    """The tag of a version. It is a strong one, although a product's ``stock`` may differ: that is another
    resource's."""
    return f'"{version}"'


def expected_versions(request: web.Request) -> Collection[int] | None:
    """The versions of which ``If-Match`` demands one; None where any will do."""
    sent = ",".join(request.headers.getall("If-Match", ()))
    return None if not sent or sent.strip() == ANY else _versions(sent, weak=False)


def has_already(request: web.Request, version: int) -> bool:
    """Whether ``If-None-Match`` names this version."""
    sent = ",".join(request.headers.getall("If-None-Match", ()))
    return sent.strip() == ANY or version in _versions(sent, weak=True)


def _versions(sent: str, *, weak: bool) -> Collection[int]:
    return {int(tag) for mark, tag in _TAG.findall(sent) if (weak or not mark) and _VERSION.fullmatch(tag)}
