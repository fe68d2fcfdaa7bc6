"""A client that asks too often is told when to come again, and costs the others nothing."""

import asyncio

import pytest

from shared.http import rates
from shared.http.auth import AuthMode
from shared.http.guard import Guard
from shared.http.problems import Problem
from shared.http.rates import SIGNING_IN, Rate, RateLimiter, requests_per_second
from shared.http.tokens import TokenVerifier
from tests.harness.http_gateway import Gateway, gateway, problem_of
from tests.harness.tokens import ALICE, BOB, KEY, MemoryKeys, bearer


class Clock:
    """Time that a test turns."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def refusal(limiter: RateLimiter, client: str = "a") -> Problem:
    """What a request too many is answered."""
    with pytest.raises(Problem) as raised:
        limiter.take(client)
    return raised.value


def test_a_burst_then_a_steady_rate() -> None:
    """A hundred at once, then fifty a second: over ten seconds six hundred in all."""
    clock = Clock()
    limiter = RateLimiter(requests_per_second(50), clock)
    for _ in range(100):
        limiter.take("a")
    assert refusal(limiter).headers["Retry-After"] == "1"
    taken = 0
    for _ in range(10_000):
        clock.now += 0.001
        try:
            limiter.take("a")
            taken += 1
        except Problem:
            pass
    assert taken == 500


def test_log_ins_are_five_a_minute() -> None:
    """The sixth waits for its share."""
    clock = Clock()
    limiter = RateLimiter(SIGNING_IN, clock)
    for _ in range(5):
        limiter.take("a")
    assert refusal(limiter).headers["Retry-After"] == "12"
    clock.now += 12
    limiter.take("a")
    refusal(limiter)


def test_clients_are_counted_each_for_itself() -> None:
    """One that has used up its burst takes none from another."""
    limiter = RateLimiter(Rate(name="few", burst=1, seconds=60), Clock())
    limiter.take("a")
    limiter.take("b")
    refusal(limiter)


def test_what_is_left_is_told() -> None:
    """In the form of the IETF's draft."""
    clock = Clock()
    limiter = RateLimiter(Rate(name="few", burst=3, seconds=30), clock)
    assert limiter.take("a") == {"RateLimit-Policy": '"few";q=3;w=30', "RateLimit": '"few";r=2;t=10'}
    limiter.take("a")
    assert limiter.take("a")["RateLimit"] == '"few";r=0;t=30'
    assert refusal(limiter).headers["RateLimit"] == '"few";r=0;t=30'
    clock.now += 30
    assert limiter.take("a")["RateLimit"] == '"few";r=2;t=10'


def test_a_refused_request_is_not_counted() -> None:
    """Who goes on asking does not wait for longer."""
    clock = Clock()
    limiter = RateLimiter(Rate(name="few", burst=1, seconds=10), clock)
    limiter.take("a")
    for _ in range(100):
        refusal(limiter)
    clock.now += 10
    limiter.take("a")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asked last is remembered longest."""
    monkeypatch.setattr(rates, "MOST_CLIENTS", 2)
    limiter = RateLimiter(Rate(name="few", burst=1, seconds=60), Clock())
    for client in "abc":
        limiter.take(client)
    refusal(limiter, "c")
    limiter.take("a")


def limited(rate: Rate, mode: AuthMode = AuthMode.REQUIRED) -> Guard:
    """A guard that counts."""
    return Guard(mode, TokenVerifier(MemoryKeys(KEY)), rate)


async def test_each_account_has_its_own_count_and_who_has_none_its_address() -> None:
    """Every answer says what is left, refusals by others than the door too."""
    async with gateway(guard=limited(Rate(name="few", burst=2, seconds=600))) as served:
        for headers in (bearer(ALICE), bearer(BOB)):
            first = await served.send("GET", "/orders", **headers)
            second = await served.send("GET", "/orders/none", **headers)
            third = await served.send("GET", "/orders", **headers)
            assert (first.status, second.status, third.status) == (200, 404, 429)
            assert first.headers["RateLimit"].startswith('"few";r=')
            assert second.headers["RateLimit"].startswith('"few";r=0')
            assert int(third.headers["Retry-After"]) > 1
            assert (await problem_of(third))["type"] == "/problems/too-many-requests"


async def test_guessing_at_tokens_is_counted_by_address() -> None:
    """Before any of it is looked at."""
    async with gateway(guard=limited(Rate(name="few", burst=3, seconds=600))) as served:
        statuses = [
            (await served.send("GET", "/orders", Authorization=f"Bearer {n}")).status for n in range(5)
        ]
    assert statuses == [401, 401, 401, 429, 429]


async def test_a_body_that_is_too_much_is_not_waited_for() -> None:
    """The answer comes while the client is still sending."""
    async with gateway(guard=limited(Rate(name="few", burst=1, seconds=600))) as served:
        await served.send("GET", "/docs")
        head = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head + b"Content-Length: 1000\r\n\r\n{")
        async with asyncio.timeout(10):
            assert b" 429 " in await reader.readline()
        writer.close()


async def test_without_a_rate_nothing_is_counted() -> None:
    """As where tokens are optional."""
    async with gateway() as served:
        answer = await served.send("GET", "/orders")
        assert "RateLimit" not in answer.headers
        await _is_open(served)


async def _is_open(served: Gateway) -> None:
    answers = await asyncio.gather(*(served.send("GET", "/orders") for _ in range(150)))
    assert {answer.status for answer in answers} <= {200, 503}
