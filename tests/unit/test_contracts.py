"""The contract of events: the document says what is sent, and what would break a consumer has a name."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from shared import versions
from shared.contracts import RAISED, asyncapi
from shared.messages import EVENT_TYPES, Event, UnknownEvent, decode, encode
from shared.pipeline import CONSUMPTIONS, ROUTES, SHOP_ROUTES
from shared.shop_events import SHOP_EVENT_TYPES
from tests.contracts.__main__ import CURRENT, RELEASED, faults
from tests.contracts.compatibility import breaks
from tests.harness import second_version
from tests.harness.description import validator
from tests.harness.examples import created, placed, rejected
from tests.harness.http_gateway import gateway
from tests.harness.pricing import prices_of

Change = Callable[[dict[str, Any]], object]


def schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Its schemas by name."""
    found: dict[str, Any] = document["components"]["schemas"]
    return found


def test_the_released_contracts_hold() -> None:
    """As `make check` says."""
    assert faults(asyncapi()) == []
    assert [path.stem for path in RELEASED.glob("*.json")]


def test_the_document_is_the_codes(tmp_path: Path) -> None:
    """One that is behind is named, with the command that renews it."""
    (tmp_path / "asyncapi.json").write_bytes(CURRENT.read_bytes() + b" ")
    (fault,) = faults(asyncapi(), tmp_path / "asyncapi.json", tmp_path)[-1:]
    assert "make contracts ARGS=--write" in fault


async def test_the_gateway_serves_the_document() -> None:
    """To every client, as it is in the documents."""
    async with gateway() as served:
        answer = await served.send("GET", "/asyncapi.json")
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert await answer.json() == orjson.loads(CURRENT.read_bytes())


def test_every_route_and_every_consumer_is_in_it() -> None:
    """By the map."""
    document = asyncapi()
    assert document["components"]["messages"].keys() == ROUTES.keys() | SHOP_ROUTES.keys()
    assert schemas(document).keys() >= EVENT_TYPES.keys() | SHOP_EVENT_TYPES.keys()
    received = {name for name, each in document["operations"].items() if each["action"] == "receive"}
    assert received == {
        f"{each.service}-receives-{ROUTES[name].routing_key}"
        for each in CONSUMPTIONS
        for name in ROUTES
        if each.takes(name)
    }


@pytest.mark.parametrize("event", [placed(), created(prices=prices_of(1999, 1999)), rejected(), created()])
def test_what_is_sent_is_what_the_schema_says(event: Any) -> None:
    """And what it rules out would not be read."""
    document = asyncapi()
    fits = validator(document, schemas(document)[event.type]).is_valid
    told = orjson.loads(encode(event))
    assert fits(told)
    for name in ("subject", "data", "time"):
        assert not fits({key: value for key, value in told.items() if key != name})
    assert not fits(told | {"type": "order.other.v1"})


def _field(name: str, schema: dict[str, Any], **needed: list[str]) -> Change:
    def change(document: dict[str, Any]) -> None:
        part = schemas(document)["OrderCreated"]
        part["properties"][name] = schema
        part["required"] += needed.get("required", [])

    return change


def _part(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda document: schemas(document)[name]


def with_second_version(document: dict[str, Any], *, raised: bool = True) -> None:
    """Plants one of ``order.created``."""
    messages = document["components"]["messages"]
    messages["order.created.v2"] = {"payload": {"type": "object"}}
    if raised:
        messages["order.created.v1"][RAISED] = "order.created.v2"


BREAKS: dict[str, Change] = {
    "data.order.email: was removed": lambda d: _part("Order")(d)["properties"].pop("email"),
    "items: may be absent": lambda d: _part("Order")(d)["required"].remove("items"),
    "email: must be there": lambda d: _part("Order")(d)["required"].append("email"),
    "carrier: is new and must be there": _field("carrier", {"type": "string"}, required=["carrier"]),
    "qty: type is string": lambda d: _part("OrderItem")(d)["properties"]["qty"].update(type="string"),
    "qty: maximum is 9": lambda d: _part("OrderItem")(d)["properties"]["qty"].update(maximum=9),
    "sku: pattern is ^x": lambda d: _part("OrderItem")(d)["properties"]["sku"].update(pattern="^x"),
    "email: may be string": lambda d: _part("Order")(d)["properties"]["email"]["anyOf"].pop(),
    "lines[]: may be": lambda d: _part("Prices")(d)["properties"]["lines"]["items"]["anyOf"].pop(),
    "items: its elements are not described any more": lambda d: _part("Order")(d)["properties"]["items"].pop(
        "items"
    ),
    "order.created: does not carry order.created.v1": lambda d: d["channels"]["order.created"].update(
        messages={}
    ),
    "order.created.v1: is not sent": lambda d: d["components"]["messages"].pop("order.created.v1"),
    "order.created: nothing is sent": lambda d: d["channels"].pop("order.created"),
    "order.created: is sent to other (topic), and was to orders.topic (topic)": lambda d: d["channels"][
        "order.created"
    ]["bindings"]["amqp"]["exchange"].update(name="other"),
    "order.created.v1: is not raised to order.created.v2": lambda d: with_second_version(d, raised=False),
    "product.deleted.v3: stands without product.deleted.v2": lambda d: d["components"]["messages"].update(
        {"product.deleted.v3": {"payload": {}}}
    ),
    "user.login.v1.data.role: was removed": lambda d: _part("UserLogin")(d)["properties"].pop("role"),
}


@pytest.mark.parametrize("named", BREAKS)
def test_what_breaks_a_consumer_is_named(named: str) -> None:
    """By the event and the place in it."""
    before = asyncapi()
    now = copy.deepcopy(before)
    BREAKS[named](now)
    found = breaks(before, now)
    assert any(named in each for each in found), found


ADDITIONS: dict[str, Change] = {
    "a field that need not be there": _field("carrier", {"type": "string"}),
    "words": lambda d: _part("Order")(d).update(description="in other words"),
    "a version beside the one before, which is raised to it": with_second_version,
    "a channel": lambda d: d["channels"].update({"order.returned": {}}),
}


@pytest.mark.parametrize("addition", ADDITIONS)
def test_what_may_be_added_breaks_nothing(addition: str) -> None:
    """A consumer that does not know it passes over it."""
    before = asyncapi()
    now = copy.deepcopy(before)
    ADDITIONS[addition](now)
    assert breaks(before, now) == []


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second version of ``order.created``."""
    second_version.plant(monkeypatch.setitem)


def test_a_consumer_of_the_first_version_passes_over_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is of a type that it does not know; the one that comes beside it has the same id."""
    first = created()
    with monkeypatch.context() as patched:
        second_version.plant(patched.setitem)
        bodies = [encode(event) for event in second_version.both_versions(first)]
    assert [decode(body) for body in bodies] == [first, UnknownEvent(type=second_version.SECOND)]
    assert {orjson.loads(body)["id"] for body in bodies} == {first.id}


@pytest.mark.usefixtures("planted")
def test_a_consumer_of_the_second_version_reads_the_first_as_the_second() -> None:
    """Under one id, however it was sent; handlers see today's type alone."""
    first, second = second_version.both_versions(created(prices=prices_of(1999, 1999)))
    for event in (first, second):
        read = decode(encode(event))
        assert read == second
        assert isinstance(read, Event)
        assert (read.id, read.type) == (first.id, second_version.SECOND)


@pytest.mark.usefixtures("planted")
def test_a_version_may_come_and_its_upcaster_may_not_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract has both versions; without the upcaster, or the one before, the gate has a name for it."""
    both = asyncapi()
    released = orjson.loads(max(RELEASED.glob("*.json")).read_bytes())
    assert breaks(released, both) == []
    monkeypatch.delitem(versions.UPCASTERS, second_version.FIRST)
    (fault,) = breaks(both, asyncapi())
    assert fault.startswith("order.created.v1: is not raised to order.created.v2")
    monkeypatch.delitem(ROUTES, second_version.FIRST)
    assert "order.created.v2: stands without order.created.v1" in " ".join(breaks(both, asyncapi()))
