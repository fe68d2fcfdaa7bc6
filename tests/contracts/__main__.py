"""``python -m tests.contracts``: the gate of ``make check``; with an option it writes the documents."""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

import orjson

from shared.contracts import asyncapi
from tests.contracts.compatibility import breaks

EVENTS: Final = Path(__file__).parents[2] / "docs" / "events"
CURRENT: Final = EVENTS / "asyncapi.json"
RELEASED: Final = EVENTS / "released"
_LAYOUT: Final = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def faults(document: dict[str, Any], current: Path = CURRENT, released: Path = RELEASED) -> list[str]:
    """What is wrong with the events as the code has them, in words."""
    found = [
        f"{fault} (since {path.stem})"
        for path in sorted(released.glob("*.json"))
        for fault in breaks(orjson.loads(path.read_bytes()), document)
    ]
    if not current.exists() or current.read_bytes() != orjson.dumps(document, option=_LAYOUT):
        found.append(f"{current.name} is not what the code says: make contracts ARGS=--write")
    return found


def main() -> int:
    """Writes what is asked for, then looks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="docs/events/asyncapi.json")
    parser.add_argument("--release", action="store_true", help="it, as what this version promises for good")
    asked, document = parser.parse_args(), asyncapi()
    text = orjson.dumps(document, option=_LAYOUT)
    if asked.write or asked.release:
        CURRENT.write_bytes(text)
    if asked.release:
        (RELEASED / f"{document['info']['version']}.json").write_bytes(text)
    found = faults(document)
    sys.stderr.writelines(f"events: {fault}\n" for fault in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
