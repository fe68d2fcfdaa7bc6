"""How many messages are in hand: as many as asked for, fewer where each holds many events."""

import pytest

from shared.messages import encode, join
from shared.messaging.rabbitmq.prefetch import BYTES_IN_HAND, FIRST, LEAST, Prefetch
from tests.harness.examples import an_order, placed

ONE = encode(placed(an_order("order1")))
MOST = 200


def after(prefetch: Prefetch, body: bytes, count: int, *, in_hand: int) -> Prefetch:
    """The same, once so many such messages have come."""
    for _ in range(count):
        prefetch.note(body, in_hand)
    return prefetch


def test_it_begins_small_and_grows_where_it_holds_up_the_consumer() -> None:
    """An idle consumer is not renewed for the sake of a number."""
    prefetch = after(Prefetch(MOST), ONE, 1_000, in_hand=FIRST - 1)
    assert prefetch.fits()
    assert not after(prefetch, ONE, 1, in_hand=FIRST).fits()
    assert prefetch.fit() == MOST
    assert prefetch.fits()


@pytest.mark.parametrize(("events", "size"), [(64, LEAST), (20, 48), (2, MOST)])
def test_batches_are_fewer_in_hand_by_how_many_events_they_hold(events: int, size: int) -> None:
    """Never fewer than some: the next must be there when one is done."""
    prefetch = after(Prefetch(MOST), join([ONE] * events), 500, in_hand=FIRST)
    assert prefetch.fit() == pytest.approx(size, rel=0.3)
    assert prefetch.fits()


@pytest.mark.parametrize(("size_bytes", "size"), [(16_000, MOST), (262_144, 64), (4_194_304, LEAST)])
def test_large_messages_of_one_event_are_fewer_in_hand_by_their_bytes(size_bytes: int, size: int) -> None:
    """Two hundred of four megabytes each would be more than a consumer has memory for."""
    prefetch = after(Prefetch(MOST), b'{"x":"%b"}' % (b"x" * size_bytes), 500, in_hand=FIRST)
    assert prefetch.fit() == pytest.approx(size, rel=0.1)
    assert prefetch.fit() * size_bytes <= max(BYTES_IN_HAND * 1.1, LEAST * size_bytes)


def test_it_shrinks_when_crowds_come_after_singles() -> None:
    """And one batch among many singles changes nothing."""
    prefetch = after(Prefetch(MOST), ONE, 100, in_hand=FIRST)
    prefetch.fit()
    assert after(prefetch, join([ONE] * 64), 1, in_hand=1).fits()
    assert not after(prefetch, join([ONE] * 64), 100, in_hand=1).fits()
    assert LEAST <= prefetch.fit() < FIRST


@pytest.mark.parametrize("most", [1, 5, 16])
def test_a_smaller_number_that_was_asked_for_stays(most: int) -> None:
    """The setting is a bound."""
    prefetch = Prefetch(most)
    for body in (ONE, join([ONE] * 64)):
        assert after(prefetch, body, 500, in_hand=most).fits()
        assert prefetch.fit() == most
