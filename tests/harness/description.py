"""What tests ask of an OpenAPI description."""

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # no stubs needed for two calls

Described = dict[str, Any]


def operations(described: Described) -> Iterator[tuple[str, str, Described]]:
    """Every path, method and operation."""
    for path, item in described["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def references(part: object) -> Iterator[str]:
    """Every ``$ref`` in a part of the description."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for child in part.values():
            yield from references(child)
    elif isinstance(part, list):
        for child in part:
            yield from references(child)


def validator(described: Described, schema: Described) -> Draft202012Validator:
    """A validator that resolves references into the description."""
    return Draft202012Validator({**schema, "components": described["components"]})
