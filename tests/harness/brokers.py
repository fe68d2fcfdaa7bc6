"""What a test does to brokers beyond killing them."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiormq

from shared.messaging.rabbitmq.management import ManagementUnavailable, ask_management
from tests.harness.clusters import NODES
from tests.harness.running import Pipeline
from tests.harness.waiting import wait_until

STANDS = """
[{proplists:get_value(<<"Raft State">>, M),
  proplists:get_value(<<"Log Index">>, M, proplists:get_value(<<"Last Log Index">>, M))}
 || M <- rabbit_quorum_queue:status(<<"/">>, <<"%s">>)].
"""


async def management(pipeline: Pipeline, path: str, method: str = "GET") -> Any:
    """Asks whichever management API answers, again for a while where none does; what is gone is deleted.

    Right after a cluster formed, and while a queue elects its leader, a broker may answer with an error.
    """
    faults: list[str] = []
    answers: list[Any] = []

    async def answered() -> bool:
        faults.clear()
        for url in pipeline.cluster.rabbitmq_management_urls:
            try:
                answers.append(await asyncio.to_thread(ask_management, url, f"/api/{path}", 5.0, method))
            except ManagementUnavailable as error:
                faults.append(str(error))
                if method == "DELETE" and str(error) == "it answered 404":
                    answers.append(None)
            if answers:
                return True
        return False

    await wait_until(answered, what=lambda: f"an answer to {method} {path}: {'; '.join(faults)}")
    return answers[0]


async def leader_of(pipeline: Pipeline, queue: str) -> str:
    """The name under which we know the node that leads a queue, by the word of the queue's own members.

    What the management interfaces say may be from before the last election, for as long as nothing changes.
    """
    cluster = pipeline.cluster
    question = f"{{ok, _, {{_, Leader}}}} = ra:members({{'%2F_{queue}', node()}}), Leader."
    asked = next(node for node in NODES if cluster.seen_by(node))
    said = await asyncio.to_thread(cluster.rabbitmqctl, asked, "eval", question)
    return next(node for node in NODES if said.strip() == cluster.erlang_name(node))


async def members_agree(pipeline: Pipeline, queue: str) -> None:
    """Waits until each member of the queue is there and has what the leader has.

    A queue that is deleted while a member catches up, as after a restart, stays half deleted for good (3.10).
    """
    asked = next(node for node in NODES if pipeline.cluster.seen_by(node))

    async def agreed() -> bool:
        said = await asyncio.to_thread(pipeline.cluster.rabbitmqctl, asked, "eval", STANDS % queue)
        members = re.findall(r"\{(\w+),(\d+)\}", said)
        states = sorted(state for state, _ in members)
        return states == ["follower", "follower", "leader"] and len({index for _, index in members}) == 1

    await wait_until(agreed, what=f"the members of {queue} to agree")


async def delete_queue(pipeline: Pipeline, queue: str) -> None:
    """Deletes a queue with everything in it."""
    await management(pipeline, f"queues/%2F/{queue}", "DELETE")


async def purge(url: str, *queues: str) -> None:
    """Takes every message out of these queues that no consumer holds."""
    connection = await aiormq.connect(url)
    channel = await connection.channel()
    for queue in queues:
        await channel.queue_purge(queue)
    await connection.close()


async def rabbitmqctl(pipeline: Pipeline, node: str, *words: str) -> None:
    """Runs rabbitmqctl against one node of the test's own cluster."""
    await asyncio.to_thread(pipeline.cluster.rabbitmqctl, node, *words)


@asynccontextmanager
async def frozen(pid: int | None) -> AsyncIterator[None]:
    """A recorded process that does not run for the length of the block, and does not know it."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def frozen_part(pipeline: Pipeline, name: str) -> AsyncIterator[None]:
    """A broker or Redis that does not run for the length of the block, and does not know it."""
    await asyncio.to_thread(pipeline.cluster.freeze, name)
    try:
        yield
    finally:
        await asyncio.to_thread(pipeline.cluster.thaw, name)


@asynccontextmanager
async def partitioned(pipeline: Pipeline, node: str, *, from_clients: bool = False) -> AsyncIterator[None]:
    """Cuts a node off from the other two for the length of the block, and from its clients if wanted."""
    try:
        await asyncio.to_thread(lambda: pipeline.cluster.cut_off(node, from_clients=from_clients))
        yield
    finally:
        await asyncio.to_thread(pipeline.cluster.reconnect, node)


async def delay(seconds: float) -> None:
    """Lets a fault last. For schedules of faults only: a test awaits a condition."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
