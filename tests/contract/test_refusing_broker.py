"""A broker that takes the connection and refuses the work is backed off from, and its own words are told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

import aiormq
import pytest
from aiormq.abc import AbstractChannel
from yarl import URL

from shared.errors import BrokerUnavailable, SubscriptionLost
from shared.messaging.ports import OutgoingMessage
from shared.messaging.rabbitmq.broker import RabbitPublisher, RabbitSubscriber
from shared.messaging.rabbitmq.connection import Link, LinkTimes
from shared.messaging.rabbitmq.management import ManagementUnavailable, ask_management
from shared.messaging.rabbitmq.rights import MONITOR
from shared.messaging.waiting import JITTER
from shared.pipeline import NOTIFIER
from shared.service.lifecycle import running
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

USER, VHOST = "refused", "refusing"
ALL: Final = {"configure": ".*", "write": ".*", "read": ".*"}
LONGEST_HEALING_SECONDS: Final = 40.0


class Administration:
    """Users, rights and queues of a vhost of the tests' own, over the management API."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def put(self, path: str, body: Mapping[str, object] | None = None, method: str = "PUT") -> None:
        """Makes what ``path`` names."""
        await asyncio.to_thread(ask_management, self._url, f"/api/{path}", 10.0, method, body or {})

    async def grant(self, **rights: str) -> None:
        """The user's rights in the vhost, from now on."""
        await self.put(f"permissions/{VHOST}/{USER}", ALL | rights)


@pytest.fixture
async def administration(running_pipeline: Pipeline) -> AsyncIterator[Administration]:
    """A fresh vhost and a user without rights in it."""
    made = Administration(running_pipeline.cluster.rabbitmq_management_urls[0])
    await made.put(f"vhosts/{VHOST}")
    await made.put(f"users/{USER}", {"password": "of-the-tests", "tags": ""})
    yield made
    await made.put(f"vhosts/{VHOST}", method="DELETE")
    await made.put(f"users/{USER}", method="DELETE")


@pytest.fixture
def urls(running_pipeline: Pipeline) -> list[str]:
    """Where that user finds that vhost."""
    found = [URL(url) for url in running_pipeline.cluster.rabbitmq_urls]
    return [str(url.with_user(USER).with_password("of-the-tests").with_path(f"/{VHOST}")) for url in found]


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When a connection was begun."""
    begun: list[float] = []
    opening = Link._open

    def counted(self: Link, url: URL) -> Any:
        begun.append(asyncio.get_running_loop().time())
        return opening(self, url)

    monkeypatch.setattr(Link, "_open", counted)
    return begun


async def consumes(subscriber: RabbitSubscriber) -> str:
    """Why it could not consume, or nothing where it can."""
    try:
        async with subscriber.subscribe(NOTIFIER.queue, prefetch=10):
            return ""
    except SubscriptionLost as error:
        return str(error)


async def refused_with(subscriber: RabbitSubscriber, words: str) -> None:
    """Returns once it has been told ``words``, either by the link or by a subscription."""
    told: list[str] = []

    async def subscribe() -> None:
        while True:
            told.append(await consumes(subscriber))

    trying = asyncio.create_task(subscribe())
    try:
        await wait_until(
            lambda: any(words in each for each in [*told, subscriber.unready_reason() or ""]),
            timeout_seconds=20,
            what=words,
        )
    finally:
        trying.cancel()
        await asyncio.gather(trying, return_exceptions=True)
    assert not any("0x" in each for each in told)


async def test_refusals_are_told_in_the_brokers_words_and_backed_off_from(
    administration: Administration, urls: list[str], connections: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No right to the vhost, none to declare, other arguments: 640 MB of log a day, once."""
    monkeypatch.setattr(JITTER, "uniform", lambda _, longest: longest)
    subscriber = RabbitSubscriber(urls, name="refused", times=LinkTimes())
    async with running(subscriber.run()):
        await refused_with(subscriber, f"access to vhost '{VHOST}' refused")
        await administration.grant(configure="^$")
        await refused_with(subscriber, "ACCESS_REFUSED")
        await administration.put(f"queues/{VHOST}/{NOTIFIER.queue}", {"durable": True})
        await administration.grant()
        await refused_with(subscriber, "PRECONDITION_FAILED")
        trying = asyncio.create_task(_keep_consuming(subscriber))
        loop = asyncio.get_running_loop()
        began, before = loop.time(), len(connections)
        await wait_until(lambda: loop.time() - began > 5.0, timeout_seconds=10, what="five seconds to pass")
        assert len(connections) - before < 20
        await administration.put(f"queues/{VHOST}/{NOTIFIER.queue}", method="DELETE")
        await asyncio.wait_for(trying, LONGEST_HEALING_SECONDS)


async def _keep_consuming(subscriber: RabbitSubscriber) -> None:
    while await consumes(subscriber):
        pass


async def test_a_publisher_without_rights_says_so_until_it_has_them(
    administration: Administration, urls: list[str]
) -> None:
    """The topology stands, and publishing is refused all the same."""
    await administration.grant()
    publisher = RabbitPublisher(urls, name="refused", timeout_seconds=2.0, times=LinkTimes())
    message = OutgoingMessage(exchange="", routing_key=NOTIFIER.dead_queue, body=b"{}")
    async with running(publisher.run()):
        await publisher.wait_ready()
        await administration.grant(write="^$")

        async def refused() -> bool:
            try:
                await publisher.publish(message)
            except BrokerUnavailable as error:
                return "ACCESS_REFUSED" in str(error)
            return False

        await wait_until(refused, timeout_seconds=20, what="the refusal in words")
        await administration.grant()

        async def published() -> bool:
            try:
                await publisher.publish(message)
            except BrokerUnavailable:
                return False
            return True

        await wait_until(published, timeout_seconds=LONGEST_HEALING_SECONDS, what="a confirm")


async def refused(url: str, act: Callable[[AbstractChannel], Awaitable[object]]) -> str:
    """What the broker says to somebody's attempt."""
    connection = await aiormq.connect(url)
    try:
        channel = await connection.channel()
        with pytest.raises(aiormq.exceptions.ChannelAccessRefused) as refusal:
            await act(channel)
    finally:
        await connection.close()
    return str(refusal.value)


@pytest.mark.parametrize(
    ("user", "exchange"),
    [
        ("notifier", "orders.direct"),
        ("order_processor", "orders.direct"),
        ("accounts", "orders.topic"),
        ("api_gateway", ""),
        ("catalogue", ""),
        (MONITOR, ""),
    ],
)
async def test_a_services_user_publishes_where_it_should_only(
    running_pipeline: Pipeline, user: str, exchange: str
) -> None:
    """What it should do, every other test shows; this is what whoever takes its password cannot."""
    (url, *_) = running_pipeline.cluster.broker_urls(user)
    said = await refused(url, lambda channel: channel.basic_publish(b"", exchange=exchange))
    assert "ACCESS_REFUSED" in said


@pytest.mark.parametrize(
    ("user", "queue"),
    [
        ("api_gateway", "orders.queue"),
        ("notifier", "orders.queue"),
        ("notifier", "notifier.dead"),
        ("accounts", "notifier.queue"),
        ("dashboard", "orders.queue"),
        (MONITOR, "orders.dead"),
    ],
)
async def test_a_services_user_reads_its_own_queues_only(
    running_pipeline: Pipeline, user: str, queue: str
) -> None:
    """Not even one message of others, for consuming and getting need the same right."""
    (url, *_) = running_pipeline.cluster.broker_urls(user)
    assert "ACCESS_REFUSED" in await refused(url, lambda channel: channel.basic_get(queue))


async def test_strangers_are_not_let_in(running_pipeline: Pipeline) -> None:
    """Neither guest, nor a service's user at the management interface."""
    cluster = running_pipeline.cluster
    for user, password in (
        ("guest", "guest"),
        ("notifier", URL(cluster.broker_urls("notifier")[0]).password),
    ):
        url = URL(cluster.rabbitmq_management_urls[0]).with_user(user).with_password(password)
        with pytest.raises(ManagementUnavailable, match="refused our user or password"):
            await asyncio.to_thread(ask_management, str(url), "/api/overview", 10.0)
    url = URL(cluster.rabbitmq_urls[0]).with_user("guest").with_password("guest")
    with pytest.raises(aiormq.exceptions.AMQPError):
        await aiormq.connect(url)
