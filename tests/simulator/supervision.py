"""Keeps every process running, as the supervisor of a real machine does: who dies is started again soon."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from shared.keyspace import Channel
from shared.orders.moves import Move, MoveResult
from shared.orders.placement import Placement, PlacementResult
from tests.simulator.clients import REFUSALS, NoAnswer
from tests.simulator.desk import Dashboard
from tests.simulator.loop import SimulatedLoop
from tests.simulator.processes import Process, Spot
from tests.simulator.services import (
    CONSUMED,
    SIMULATED,
    Gateway,
    Service,
    Surroundings,
    counter,
    notifier,
    other,
    processor,
)

LONGEST_RESTART_SECONDS: Final = 2.0
CLIENT_SECONDS: Final = 8.0

Result = TypeVar("Result")
Build = Callable[[Surroundings, Process, random.Random], Service]


@dataclass(slots=True, kw_only=True, eq=False)
class Place:
    """Where one process after the other does the same job."""

    name: str
    build: Build
    process: Process
    service: Service
    stop: asyncio.Event
    starts: int = 0


class Supervisor:
    """All processes of one simulation."""

    def __init__(self, around: Surroundings, loop: SimulatedLoop, dice: random.Random) -> None:
        self.places: list[Place] = []
        self.faults: list[str] = []
        self.deaths = 0
        self.died_at: set[Spot] = set()
        """Where crashes have struck."""
        self._keeping: list[asyncio.Task[None]] = []
        self._around = around
        self._loop = loop
        self._dice = dice

    def start(self) -> None:
        """Starts as many of each as the plan says."""
        plan = self._around.plan
        jobs: list[tuple[str, Build, int]] = [
            ("gateway", Gateway, plan.gateways),
            ("processor", processor, plan.processors),
            ("notifier", notifier, plan.notifiers),
            *((each.service, other(each), 1) for each in CONSUMED if each not in SIMULATED),
            ("dashboard", Dashboard, plan.dashboards),
            ("counter", counter, plan.counters),
        ]
        for job, build, count in jobs:
            self.employ(job, build, count)

    def employ(self, job: str, build: Build, count: int) -> None:
        """Starts more processes, and keeps them running."""
        for number in range(count):
            self._keeping.append(self._around.network.spawn(self._keep(f"{job}{number}", build)))

    def dismiss_all(self) -> None:
        """Ends every process for good."""
        for keeping in self._keeping:
            keeping.cancel()
        for place in self.places:
            place.process.kill()
        self._keeping.clear()
        self.places.clear()

    async def _keep(self, name: str, build: Build) -> None:
        place = self._begin(name, build)
        self.places.append(place)
        while True:
            await self._live(place)
            await asyncio.sleep(self._dice.random() * LONGEST_RESTART_SECONDS)
            starts = place.starts + 1
            fresh = self._begin(f"{name}.{starts}", build)
            place.process, place.service, place.stop = fresh.process, fresh.service, fresh.stop
            place.starts = starts

    def _begin(self, name: str, build: Build) -> Place:
        skew = self._around.plan.clock_skew
        process = Process(self._loop, name, clock_skew=self._dice.uniform(-skew, skew))
        process.on_death(lambda: self._mourn(process))
        service = build(self._around, process, random.Random(f"{self._around.plan.seed} {name}"))
        return Place(name=name, build=build, process=process, service=service, stop=asyncio.Event())

    async def _live(self, place: Place) -> None:
        """Returns when the process has ended, one way or another."""
        ended: asyncio.Future[None] = self._loop.create_future()
        process = place.process
        process.on_death(lambda: None if ended.done() else ended.set_result(None))
        working = process.start(place.service.run(place.stop))
        working.add_done_callback(lambda _: process.kill())
        await ended
        if working.done() and (error := working.exception()):
            self.faults.append(f"{process.name} crashed by itself: {_leaves(error)}")

    def _mourn(self, process: Process) -> None:
        self.deaths += 1
        if process.dies_after is not None:
            self.died_at.update(process.spots())
        self._around.trace.fault(
            f"{process.name} ends" + "".join(f"\n{'':27}{at}" for at in process.places())
        )
        self._around.customers.sender_died(process.name)

    async def place(self, placement: Placement) -> PlacementResult:
        """One order. Raises as ``request`` does."""
        return await self.request(lambda gateway: gateway.place(placement), placement.order.id)

    async def move(self, order_id: str, move: Move) -> MoveResult | None:
        """One move. Raises as ``request`` does."""
        return await self.request(lambda gateway: gateway.move(order_id, move), order_id)

    async def choose(self, customer: str, declined: Collection[Channel]) -> None:
        """One choice of channels. Raises as ``request`` does."""
        await self.request(lambda gateway: gateway.choose(customer, declined), customer)

    async def request(self, what: Callable[[Gateway], Awaitable[Result]], order_id: str) -> Result:
        """One HTTP request to any gateway. Raises what stands for its answer, or NoAnswer."""
        open_places = [
            place
            for place in self.places
            if isinstance(place.service, Gateway) and place.service.is_open and place.process.is_alive
        ]
        if not open_places:
            raise NoAnswer("connection refused")
        weather = self._around.weather
        await asyncio.sleep(weather.way())
        try:
            async with asyncio.timeout(CLIENT_SECONDS):
                result = await self._ask(self._dice.choice(open_places), what, order_id)
        except TimeoutError:
            raise NoAnswer("no answer in time") from None
        if weather.happens("answer_lost"):
            raise NoAnswer("connection lost")
        return result

    async def _ask(self, place: Place, what: Callable[[Gateway], Awaitable[Result]], order_id: str) -> Result:
        answer: asyncio.Future[Result] = self._loop.create_future()
        place.process.on_death(lambda: _fail(answer, NoAnswer("connection lost")))
        if place.process.is_alive:
            place.process.start(self._answer(place.service, what, order_id, answer))
        else:
            _fail(answer, NoAnswer("connection refused"))
        return await answer

    async def _answer(
        self,
        service: Any,
        what: Callable[[Gateway], Awaitable[Result]],
        order_id: str,
        answer: "asyncio.Future[Result]",
    ) -> None:
        try:
            result = await what(service)
        except REFUSALS as error:
            _fail(answer, error)
        except Exception as error:  # noqa: BLE001 - what the HTTP layer would answer 500 to
            self.faults.append(f"500 for {order_id}: {error!r}")
            _fail(answer, NoAnswer("500"))
        else:
            if not answer.done():
                answer.set_result(result)

    def dashboards(self) -> list[tuple[Process, Dashboard]]:
        """Those that an operator can ask at present."""
        return [
            (place.process, place.service)
            for place in self.places
            if isinstance(place.service, Dashboard) and place.process.is_alive
        ]


def _fail(answer: "asyncio.Future[Any]", error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)


def _leaves(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_leaves(inner) for inner in error.exceptions)
    return repr(error)
