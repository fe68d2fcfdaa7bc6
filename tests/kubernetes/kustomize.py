"""Builds a folder as ``kubectl kustomize`` does, in as much of it as deploy/kubernetes uses.

That is resources, a namespace, images, and patches that are laid over what has their name, or over every
object of a kind. Anything else is refused, so that it cannot be passed over. Where there is a kubectl, a test
holds its build to this one.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

Manifest = dict[str, Any]

LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KNOWN: Final = frozenset(("apiVersion", "kind", "namespace", "resources", "images", "patches"))
_OF_THE_CLUSTER: Final = "Namespace"
_BY_NAME: Final = frozenset(("containers", "initContainers", "env", "volumes"))
"""Lists of built-in kinds whose elements are merged by their name; others are replaced as a whole."""


class CannotBuild(Exception):
    """Raised where a folder asks for what is not built here, or names what is not there."""


def build(folder: Path) -> list[Manifest]:
    """Every object that the folder describes. Raises CannotBuild."""
    asked = _only(folder / "kustomization.yaml")
    if unknown := asked.keys() - _KNOWN:
        raise CannotBuild(f"{folder.name}: {', '.join(sorted(unknown))} is not built here")
    built: list[Manifest] = []
    for name in asked["resources"]:
        path = folder / name
        if not path.exists():
            raise CannotBuild(f"{folder.name}: there is no {name}")
        built += build(path) if path.is_dir() else _documents(path)
    for patch in asked.get("patches", ()):
        _lay(patch, folder, built)
    for manifest in built:
        if "namespace" in asked and manifest["kind"] != _OF_THE_CLUSTER:
            manifest["metadata"]["namespace"] = asked["namespace"]
        for image in asked.get("images", ()):
            _rename(manifest, image)
    return built


def _documents(path: Path) -> list[Manifest]:
    return [each for each in yaml.load_all(path.read_text(), LOADER) if each]


def _only(path: Path) -> Manifest:
    (document,) = _documents(path)
    return document


def _lay(asked: Manifest, folder: Path, built: list[Manifest]) -> None:
    for patch in _documents(folder / asked["path"]):
        kind = asked.get("target", {}).get("kind")
        aims = [
            each
            for each in built
            if (each["kind"] == kind if kind else name_of(each) == name_of(patch))
            and each["apiVersion"] == patch["apiVersion"]
        ]
        if not aims:
            raise CannotBuild(f"{asked['path']}: there is no {name_of(patch)} to lay it over")
        for aim in aims:
            _merge(aim, {key: value for key, value in patch.items() if key != "metadata"})


def name_of(manifest: Manifest) -> str:
    """As kubectl says it: kind and name."""
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def _merge(into: Manifest, patch: Manifest) -> None:
    for key, value in patch.items():
        known = into.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        elif key in _BY_NAME and known is not None:
            _merge_by_name(known, value)
        else:
            into[key] = copy.deepcopy(value)


def _merge_by_name(known: list[Manifest], patch: list[Manifest]) -> None:
    by_name = {each["name"]: each for each in known}
    for each in patch:
        if each["name"] in by_name:
            _merge(by_name[each["name"]], each)
        else:
            known.insert(0, copy.deepcopy(each))


def containers_of(manifest: Manifest) -> Iterator[Manifest]:
    """The containers of what makes pods; none of anything else."""
    spec = manifest.get("spec", {}).get("template", {}).get("spec", {})
    yield from spec.get("initContainers", ())
    yield from spec.get("containers", ())


def _rename(manifest: Manifest, image: Manifest) -> None:
    for container in containers_of(manifest):
        if container.get("image") == image["name"]:
            container["image"] = f"{image.get('newName', image['name'])}:{image['newTag']}"
