"""A ledger that dies at any question to store or database, before or after the answer, misses no step."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from ledger.store import LedgerStore
from shared.redis.lease import Lease
from shared.sql.database import Database, open_database
from shared.sql.migrations import migrations_of
from tests.harness.afterlife import Crashed, CrashPlan
from tests.harness.examples import an_order
from tests.harness.ledger import SECONDS, Trial
from tests.harness.stores import store_in_process

ORDERS = [an_order(f"o{n}", cable=1) for n in range(4)]
QUESTIONS = (
    *((LedgerStore, name) for name in ("position", "write")),
    *((Trial.log_type, name) for name in ("read", "end", "confirm")),
    (Lease, "hold"),
)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A ledger's database, with its tables."""
    async with open_database(database_url, migrations_of("ledger"), timeout_seconds=SECONDS) as opened:
        await opened.look()
        yield opened


def dying(plan: CrashPlan, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same question, with a place to die at before it and one after its answer."""

    async def asked(*arguments: Any, **named: Any) -> Any:
        plan.step()
        answer = await ask(*arguments, **named)
        plan.step()
        return answer

    return asked


async def lives(trial: Trial, plan: CrashPlan) -> bool:
    """Whether a follower that has just been started writes all that there is before it dies."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in QUESTIONS:
            patch.setattr(owner, name, dying(plan, getattr(owner, name)))
        try:
            await (await trial.takes_over()).follow()
        except Crashed:
            return False
    return True


async def test_a_death_at_any_question_loses_and_doubles_no_step(database: Database) -> None:
    """Reading the log and reading the records alike; each death is followed by steps that nobody follows."""
    for is_rebuilt in (False, True):
        deaths, has_lived = 0, False
        while not has_lived:
            async with store_in_process() as redis:
                trial = Trial(redis, database)
                await trial.store.forget_position()
                await trial.accept(*ORDERS[:2])
                if not is_rebuilt:
                    await trial.follower.follow()
                await trial.decide(ORDERS[0])
                has_lived = await lives(trial, CrashPlan(at=deaths))
                await trial.accept(*ORDERS[2:])
                await trial.decide(*ORDERS[1:])
                await (await trial.takes_over()).follow()
                assert await trial.is_true(), f"death {deaths}"
                deaths += not has_lived
        assert deaths > len(QUESTIONS)
