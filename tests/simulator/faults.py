"""The faults that come by themselves, each kind at its own pace, until they are stopped."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from shared.messaging.ports import OutgoingMessage
from shared.pipeline import CONSUMPTIONS
from tests.simulator.services import Surroundings
from tests.simulator.store import Condition
from tests.simulator.supervision import Place, Supervisor

MOST_STEPS_TO_DEATH: Final = 80
"""A process dies within so many of its callbacks, so that every await comes up."""
POISON: Final = (b"", b"{", b'{"type": "order.placed.v1"}', b'{"type": "order.created.v1", "id": 1}', b"\xff")


class Faults:
    """Breaks things in one simulation."""

    def __init__(self, around: Surroundings, supervisor: Supervisor, dice: random.Random) -> None:
        self.poisoned: list[tuple[str, bytes]] = []
        """What was put where, as dead-letter queue and body."""
        self._around = around
        self._supervisor = supervisor
        self._dice = dice
        self._kinds: Mapping[str, Callable[[], Awaitable[None]]] = {
            "crash": self._crash,
            "stall": self._stall,
            "drain": self._drain,
            "connection": self._cut_connection,
            "broker": self._broker,
            "store_away": lambda: self._store(Condition.AWAY),
            "store_frozen": lambda: self._store(Condition.FROZEN),
            "store_full": lambda: self._store(Condition.FULL),
            "mail": self._mail,
            "poison": self._poison,
        }

    async def run(self) -> None:
        """Breaks things for as long as the plan says; when it returns, all is well and stays so."""
        plan = self._around.plan
        breaking = [
            self._around.network.spawn(self._repeat(kind, mean)) for kind, mean in plan.pauses.items()
        ]
        await asyncio.sleep(plan.seconds)
        for task in breaking:
            task.cancel()
        self._around.weather.clear_up()
        self._around.broker.queues.come_back()
        self._around.store.become(Condition.WELL)
        self._around.customers.is_away = False
        for place in self._supervisor.places:
            place.process.dies_after = None
            place.process.resume()
        self._around.trace.fault("no more faults")

    async def _repeat(self, kind: str, mean_seconds: float) -> None:
        while True:
            await asyncio.sleep(self._dice.expovariate(1 / mean_seconds))
            await self._kinds[kind]()

    def _victim(self) -> Place:
        return self._dice.choice(self._supervisor.places)

    async def _crash(self) -> None:
        process = self._victim().process
        process.dies_after = self._dice.randint(1, MOST_STEPS_TO_DEATH)
        self._around.trace.fault(f"{process.name} will die after {process.dies_after} steps")

    async def _stall(self) -> None:
        process, seconds = self._victim().process, self._dice.uniform(0.5, 20.0)
        self._around.trace.fault(f"{process.name} stalls for {seconds:.1f} s")
        process.stall()
        await asyncio.sleep(seconds)
        process.resume()

    async def _drain(self) -> None:
        place = self._victim()
        self._around.trace.fault(f"{place.process.name} is asked to stop")
        place.stop.set()

    async def _cut_connection(self) -> None:
        sessions = self._around.broker.sessions
        if sessions:
            session = self._dice.choice(sessions)
            self._around.trace.fault(f"a consumer of {session.queue} loses its connection")
            session.close()

    async def _broker(self) -> None:
        self._around.trace.fault("the broker is down")
        self._around.broker.queues.go_down()
        await self._pause()
        self._around.broker.queues.come_back()
        self._around.trace.fault("the broker is back")

    async def _store(self, condition: Condition) -> None:
        self._around.trace.fault(f"the store is {condition.name.lower()}")
        self._around.store.become(condition)
        await self._pause()
        self._around.store.become(Condition.WELL)
        self._around.trace.fault("the store is well")

    async def _mail(self) -> None:
        self._around.trace.fault("the mail server is away")
        self._around.customers.is_away = True
        await self._pause()
        self._around.customers.is_away = False

    async def _poison(self) -> None:
        consumption, body = self._dice.choice(CONSUMPTIONS), self._dice.choice(POISON)
        if self._around.broker.queues.unready_reason() is None:
            self.poisoned.append((consumption.dead_queue, body))
            message = OutgoingMessage(exchange="", routing_key=consumption.queue, body=body)
            await self._around.broker.queues.publish(message)

    async def _pause(self) -> None:
        await asyncio.sleep(self._dice.choice((0.1, 1.0, 3.0, 8.0)) * self._dice.random())
