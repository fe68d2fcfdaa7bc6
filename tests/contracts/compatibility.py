"""Whether events mean the same to both sides: older consumers of newer messages, and newer ones of older.

Within a version a field may be added that need not be there, and nothing else: what one side would
pass over, the other would miss. Another version stands beside the one before it, and raises it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.contracts import RAISED

Json = Mapping[str, Any]

_SAID_TO_PEOPLE: Final = frozenset(("title", "description", "examples", "default"))
_LOOKED_INTO: Final = frozenset(("properties", "required", "items", "anyOf", "$ref"))


def breaks(before: Json, now: Json) -> list[str]:
    """What consumers could rely on before and cannot now, each by the event and the place in it."""
    return [*_of_channels(before, now), *_of_events(before, now), *_of_versions(now)]


def _of_channels(before: Json, now: Json) -> Iterator[str]:
    for key, channel in before["channels"].items():
        known = now["channels"].get(key)
        if known is None:
            yield f"{key}: nothing is sent with this routing key any more"
            continue
        if known["bindings"] != channel["bindings"]:
            yield f"{key}: is sent to {_exchange(known)}, and was to {_exchange(channel)}"
        for event in channel["messages"].keys() - known["messages"].keys():
            yield f"{key}: does not carry {event} any more"


def _exchange(channel: Json) -> str:
    exchange = channel["bindings"]["amqp"]["exchange"]
    return f"{exchange['name']} ({exchange['type']})"


def _of_events(before: Json, now: Json) -> Iterator[str]:
    for name, message in before["components"]["messages"].items():
        known = now["components"]["messages"].get(name)
        if known is None:
            yield f"{name}: is not sent any more"
        else:
            yield from _Comparison(before, now).of(message["payload"], known["payload"], name)


def _of_versions(now: Json) -> Iterator[str]:
    """Each comes beside the one before, which consumers of it can still read, and others as theirs."""
    messages = now["components"]["messages"]
    for name in sorted(messages):
        before, _, number = name.rpartition(".v")
        before = f"{before}.v{int(number) - 1}"
        if number == "1":
            continue
        if before not in messages:
            yield f"{name}: stands without {before}, which older consumers wait for"
        elif messages[before].get(RAISED) != name:
            yield f"{before}: is not raised to {name}, and consumers of that miss it"


class _Comparison:
    """Of two schemas, each in its document."""

    def __init__(self, before: Json, now: Json) -> None:
        self._before = before
        self._now = now

    def of(self, before: Json, now: Json, place: str) -> Iterator[str]:
        """What differs, place by place."""
        old, new = _resolved(self._before, before), _resolved(self._now, now)
        for name in sorted((old.keys() | new.keys()) - _SAID_TO_PEOPLE - _LOOKED_INTO):
            if old.get(name) != new.get(name):
                yield f"{place}: {name} is {new.get(name)}, and was {old.get(name)}"
        yield from self._of_properties(old, new, place)
        if ("items" in old) != ("items" in new):
            yield f"{place}: its elements are {'described' if 'items' in new else 'not described any more'}"
        elif "items" in old:
            yield from self.of(old["items"], new["items"], f"{place}[]")
        yield from self._of_alternatives(old.get("anyOf", ()), new.get("anyOf", ()), place)

    def _of_properties(self, old: Json, new: Json, place: str) -> Iterator[str]:
        fields, known = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name, schema in fields.items():
            where = f"{place}.{name}"
            if name not in known:
                yield f"{where}: was removed"
                continue
            if name in needed - needs:
                yield f"{where}: may be absent, and was always there"
            if name in needs - needed:
                yield f"{where}: must be there, and older messages may lack it"
            yield from self.of(schema, known[name], where)
        for name in known.keys() - fields.keys():
            if name in needs:
                yield f"{place}.{name}: is new and must be there, and older messages lack it"

    def _of_alternatives(self, old: Any, new: Any, place: str) -> Iterator[str]:
        if len(old) != len(new):
            yield f"{place}: may be {_kinds(self._now, new)}, and was {_kinds(self._before, old)}"
            return
        for before, now in zip(old, new, strict=True):
            yield from self.of(before, now, place)


def _kinds(document: Json, alternatives: Any) -> str:
    kinds = (str(_resolved(document, each).get("type")) for each in alternatives)
    return " or ".join(kinds) or "of one kind"


def _resolved(document: Json, schema: Json) -> Json:
    found: Any = schema
    while "$ref" in found:
        place, found = found["$ref"].removeprefix("#/"), document
        for step in place.split("/"):
            found = found[step]
    resolved: Json = found
    return resolved
