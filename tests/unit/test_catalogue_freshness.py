"""What may be read from the cache: never what was, a second after a write, whichever replica wrote it."""

from collections.abc import Callable

import pytest

from catalogue.freshness import KNOWN_FOR_SECONDS, Freshness
from shared.errors import DatabaseUnavailable


class Outbox:
    """Says which invalidations are pending; ``meanwhile`` happens while it is asked."""

    def __init__(self) -> None:
        self.version = 1
        self.pending: set[str] = set()
        self.meanwhile: Callable[[], object] = bool
        self.is_away = False

    async def ask(self) -> tuple[int, frozenset[str]]:
        """As it stands when it is asked."""
        if self.is_away:
            raise DatabaseUnavailable("away")
        answer = self.version, frozenset(self.pending)
        self.meanwhile()
        return answer


class Clock:
    """A clock that tests move."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def outbox() -> Outbox:
    """Nothing is pending."""
    return Outbox()


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def freshness(outbox: Outbox, clock: Clock) -> Freshness:
    """A replica that has not asked yet."""
    return Freshness(outbox.ask, clock)


async def confirmed() -> bool:
    """The cache has forgotten."""
    return True


async def unconfirmed() -> bool:
    """Whether it has is not known."""
    return False


async def test_what_another_replica_wrote_is_read_past_the_cache(
    freshness: Freshness, outbox: Outbox
) -> None:
    """As are all lists, until its invalidation is confirmed."""
    outbox.pending = {"case"}
    await freshness.look()
    assert [freshness.must_bypass(what) for what in ("case", "cable", None)] == [True, False, True]
    outbox.pending = set()
    await freshness.look()
    assert [freshness.must_bypass(what) for what in ("case", None)] == [False, False]


async def test_an_answer_of_the_outbox_is_good_for_less_than_a_second(
    freshness: Freshness, outbox: Outbox, clock: Clock
) -> None:
    """Counted from the question."""
    assert not freshness.is_known()
    outbox.meanwhile = lambda: setattr(clock, "now", clock.now + KNOWN_FOR_SECONDS - 0.01)
    await freshness.look()
    assert freshness.is_known()
    clock.now += 0.01
    assert not freshness.is_known()
    outbox.is_away = True
    with pytest.raises(DatabaseUnavailable):
        await freshness.look()
    assert not freshness.is_known()


async def test_a_write_here_is_known_at_once(freshness: Freshness) -> None:
    """From before it is made until the cache has forgotten."""
    await freshness.look()
    async with freshness.writing("case", confirmed):
        assert (freshness.must_bypass("case"), freshness.must_bypass(None)) == (True, True)
    assert (freshness.must_bypass("case"), freshness.must_bypass(None)) == (False, False)


@pytest.mark.parametrize("fails", [False, True])
async def test_a_write_that_is_not_confirmed_stays_known(
    freshness: Freshness, outbox: Outbox, clock: Clock, fails: bool
) -> None:
    """Until the outbox, asked after it, says that nothing is pending."""

    async def write() -> None:
        async with freshness.writing("case", unconfirmed):
            if fails:
                raise DatabaseUnavailable("whether it was written is unknown")

    if fails:
        with pytest.raises(DatabaseUnavailable):
            await write()
    else:
        await write()
    assert freshness.must_bypass("case")
    clock.now += 0.1
    outbox.pending = {"case"}
    await freshness.look()
    assert freshness.must_bypass("case")
    outbox.pending = set()
    await freshness.look()
    assert not freshness.must_bypass("case")


async def test_a_write_during_which_the_outbox_was_asked_stays_known(
    freshness: Freshness, clock: Clock
) -> None:
    """That answer is of before the write, and says nothing of it."""
    async with freshness.writing("case", unconfirmed):
        await freshness.look()
        clock.now += 0.1
    assert freshness.must_bypass("case")


async def test_an_answer_from_before_a_confirmation_does_not_undo_it(
    freshness: Freshness, outbox: Outbox, clock: Clock
) -> None:
    """The row was there when the outbox was asked, and is gone by now."""
    asked_before = freshness.look
    outbox.pending = {"case", "cable"}
    async with freshness.writing("case", confirmed):
        clock.now += 0.1
    clock.now -= 0.1
    await asked_before()
    assert (freshness.must_bypass("case"), freshness.must_bypass("cable")) == (False, True)


async def test_the_last_write_is_named_where_nothing_before_it_can_be_missing(
    freshness: Freshness, outbox: Outbox, clock: Clock
) -> None:
    """Not while one is pending anywhere, nor where other replicas' writes are not known."""
    assert freshness.version() is None
    await freshness.look()
    assert freshness.version() == 1
    async with freshness.writing("case", confirmed):
        assert freshness.version() is None
    assert freshness.version() == 1
    outbox.version, outbox.pending = 2, {"case"}
    clock.now += 0.1
    await freshness.look()
    assert freshness.version() is None
    outbox.pending = set()
    await freshness.look()
    assert freshness.version() == 2
    clock.now += KNOWN_FOR_SECONDS
    assert freshness.version() is None
