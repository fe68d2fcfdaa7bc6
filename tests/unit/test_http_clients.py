"""Whose request it is, how often a client may fail, and how often a line is written."""

import asyncio
from collections.abc import Sequence

import pytest
import structlog

from shared.http.attempts import FailedAttempts
from shared.http.clients import UNKNOWN, TrustedProxies, address_of
from shared.http.limits import HttpLimits
from shared.http.problems import Problem
from shared.http.sparing import SparingLog
from tests.harness.http_gateway import gateway
from tests.harness.waiting import wait_until


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        (("192.0.2.7", 1234), "192.0.2.7"),
        (("127.0.0.2", 1), "127.0.0.2"),
        (("::ffff:192.0.2.7", 1, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2::9%eth0", 1, 0, 0), "2001:db8:1:2::/64"),
        (("::1", 1, 0, 0), "::1"),
        ("", UNKNOWN),
        (None, UNKNOWN),
    ],
)
def test_a_client_is_its_address_or_its_network(peer: object, client: str) -> None:
    """Who owns an IPv6 prefix has every address in it."""
    assert address_of(peer) == client


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1, 192.0.2.7"], "192.0.2.7"),
        (["198.51.100.1", "192.0.2.7, 10.0.0.9"], "192.0.2.7"),
        (["made up, 10.0.0.9"], UNKNOWN),
        (["10.0.0.8"], "10.0.0.8"),
        (["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
        ([], "10.0.0.1"),
    ],
)
def test_a_proxy_names_the_last_that_is_no_proxy(forwarded: Sequence[str], client: str) -> None:
    """What stands before it, the client may have written itself. Where all are proxies, the first asked."""
    assert TrustedProxies(["10.0.0.0/8"]).client(forwarded, "10.0.0.1") == client


def test_failures_are_forgiven_one_by_one() -> None:
    """And another client's are its own."""
    clock = Clock()
    attempts = FailedAttempts(limit=5, seconds=60, clock=clock)
    for _ in range(5):
        attempts.check("a")
        attempts.failed("a", "token")
    with pytest.raises(Problem):
        attempts.check("a")
    attempts.check("b")
    clock.now += 12
    attempts.check("a")
    attempts.failed("a", "token")
    with pytest.raises(Problem):
        attempts.check("a")


def test_like_lines_are_counted_instead_of_written() -> None:
    """The next one says how many there were."""
    clock = Clock()
    with structlog.testing.capture_logs() as lines:
        log = SparingLog(structlog.stdlib.get_logger(), clock)
        for _ in range(1_000):
            log.warning("noise", client="a")
        clock.now += 10
        log.warning("noise", client="b")
    assert [(line["client"], line["left_out"]) for line in lines] == [("a", 0), ("b", 999)]


async def test_clients_behind_a_proxy_are_bounded_each_for_itself() -> None:
    """By the requests that they have under way, and not by what they claim before the proxy's word."""
    limits = HttpLimits(connections_per_address=2)
    async with gateway(limits, trusted_proxies=("127.0.0.1",)) as served:
        served.intake.gate = asyncio.Event()

        async def post(number: int, forwarded: str) -> int:
            body = f'{{"id": "order{number}", "sku": "cable", "qty": 1}}'
            return (await served.post(body, X_Forwarded_For=forwarded)).status

        held = [asyncio.ensure_future(post(number, f"203.0.113.{number}, 192.0.2.1")) for number in range(2)]
        await wait_until(lambda: served.intake.waiting == 2)
        assert await post(2, "203.0.113.9, 192.0.2.1") == 503
        other = asyncio.ensure_future(post(3, "192.0.2.2"))
        await wait_until(lambda: served.intake.waiting == 3)
        served.intake.gate.set()
        assert [*await asyncio.gather(*held), await other] == [202] * 3
