"""Each service's user at the brokers may do what the map has it do, and nothing that others do."""

import base64
import hashlib
import re

import pytest

from shared.messaging.rabbitmq.rights import (
    DEFAULT_EXCHANGE,
    MONITOR,
    OPERATOR,
    USERS,
    definitions,
    rights_of,
    topology,
)
from shared.pipeline import (
    BINDINGS,
    CONSUMPTIONS,
    DEAD_LETTER_DESK,
    EXCHANGES,
    RETRY_TIERS_SECONDS,
    ROUTES,
    SHOP_ROUTES,
    Consumption,
    queues,
)
from shared.services import SERVICES

QUEUES = {each.name for each in queues()}
EXCHANGE_NAMES = {each.name for each in EXCHANGES}
NAMES = QUEUES | EXCHANGE_NAMES | {DEFAULT_EXCHANGE}
EVERY_SERVICE = pytest.mark.parametrize("service", [user for user in USERS if user != MONITOR])


def allowed(user: str, right: str) -> set[str]:
    """The names that a user's pattern lets through, matched as a broker does."""
    return {name for name in NAMES if re.search(rights_of(user)[right], name)}


@EVERY_SERVICE
def test_a_service_may_declare_the_whole_map_and_nothing_else(service: str) -> None:
    """Every service declares it when it connects, so that no order can meet a missing queue."""
    assert allowed(service, "configure") == QUEUES | EXCHANGE_NAMES
    assert {each.queue for each in BINDINGS} <= allowed(service, "write")
    assert {each.exchange for each in BINDINGS} <= allowed(service, "read")


@EVERY_SERVICE
def test_a_service_publishes_where_the_map_names_it(service: str) -> None:
    """Whoever only notifies cannot place an order."""
    routes = (*ROUTES.values(), *SHOP_ROUTES.values())
    expected = {route.exchange for route in routes if service in route.publishers}
    assert allowed(service, "write") & EXCHANGE_NAMES == expected


@pytest.mark.parametrize("consumption", CONSUMPTIONS, ids=lambda each: each.service)
def test_a_consumer_has_its_own_queue_and_tiers(consumption: Consumption) -> None:
    """By its row alone: what it reads, what only it can make, and the way into its tiers."""
    own = {consumption.queue, *map(consumption.retry_queue, RETRY_TIERS_SECONDS)}
    assert allowed(consumption.service, "read") & QUEUES == own
    assert DEFAULT_EXCHANGE in allowed(consumption.service, "write")


@EVERY_SERVICE
def test_who_consumes_nothing_reads_no_queue(service: str) -> None:
    """The desk reads dead letters, and sends them back; others have no way to a queue but an exchange."""
    if SERVICES[service].consumption is None:
        is_desk = service == DEAD_LETTER_DESK
        dead = {each.dead_queue for each in CONSUMPTIONS} if is_desk else set()
        assert allowed(service, "read") & QUEUES == dead
        assert (DEFAULT_EXCHANGE in allowed(service, "write")) is is_desk


def test_the_monitor_sees_everything_and_touches_nothing() -> None:
    """It has a right to nothing, in a virtual host that it may enter; the operator may do everything."""
    assert all(not allowed(MONITOR, right) for right in ("configure", "write", "read"))
    assert all(allowed(OPERATOR, right) == NAMES for right in ("configure", "write", "read"))
    found = definitions(dict.fromkeys((OPERATOR, *USERS), "secret"))
    tags = {user["name"]: user["tags"] for user in found["users"]}
    assert tags == {**dict.fromkeys(USERS, ""), MONITOR: "monitoring", OPERATOR: "administrator"}


@pytest.mark.parametrize("right", ["configure", "write", "read"])
@pytest.mark.parametrize("user", USERS)
def test_a_right_ends_with_the_name(user: str, right: str) -> None:
    """A broker looks for the pattern anywhere in a name, and a dot in it stands for anything."""
    for name in allowed(user, right):
        for other in (f"{name}.more", f"my.{name}", name.replace(".", "x")):
            assert not re.search(rights_of(user)[right], other)


def test_publishers_are_services() -> None:
    """A wrong name on the map would be a service that may not publish."""
    for route in (*ROUTES.values(), *SHOP_ROUTES.values()):
        assert route.publishers
        assert set(route.publishers) <= SERVICES.keys()


def test_a_password_is_imported_as_a_hash_that_stays_the_same() -> None:
    """As RabbitMQ makes it; the same file again changes nothing."""
    (user,) = definitions({"notifier": "secret"})["users"]
    raw = base64.b64decode(user["password_hash"])
    assert raw[4:] == hashlib.sha256(raw[:4] + b"secret").digest()
    assert "secret" not in str(definitions({"notifier": "secret"}))
    assert definitions({"notifier": "secret"}) == definitions({"notifier": "secret"})


def test_what_is_imported_is_what_services_declare() -> None:
    """Otherwise they would be refused where the operator came first."""
    found = topology()
    assert {each["name"]: each["arguments"] for each in found["queues"]} == {
        each.name: each.arguments for each in queues()
    }
    assert {(each["name"], each["type"]) for each in found["exchanges"]} == {
        (each.name, each.type) for each in EXCHANGES
    }
    assert {(each["source"], each["destination"], each["routing_key"]) for each in found["bindings"]} == {
        (each.exchange, each.queue, each.routing_key) for each in BINDINGS
    }
