"""How fast orders go, as the page shows it."""

from dataclasses import replace

import pytest

from dashboard.overview.pace import SAMPLES, Pace
from tests.harness.dashboard import STORE, MadeUpStore


async def paced(counts: list[int], seconds: float = 2.0) -> Pace:
    """After these counts, so many seconds apart."""
    now, store = [0.0], MadeUpStore()
    pace = Pace(store, monotonic=lambda: now[0])
    for count in counts:
        store.figures = replace(STORE, processed=count)
        await pace.count()
        now[0] += seconds
    return pace


@pytest.mark.parametrize(
    ("counts", "rate"),
    [([], None), ([7], None), ([0, 10], 5.0), ([0, 1_000, 1_010, 1_020, 1_030, 1_040], 5.0), ([50, 0], 0.0)],
)
async def test_the_rate_is_that_of_the_last_seconds(counts: list[int], rate: float | None) -> None:
    """Not known before there are two counts; a count that was set back is no negative rate."""
    assert (await paced(counts)).decided.now == rate


async def test_the_line_ends_at_the_right_and_fits_its_box() -> None:
    """However many counts there were."""
    for length in (2, 10, SAMPLES, 2 * SAMPLES):
        course = (await paced([count**2 for count in range(length)])).decided
        points = [tuple(map(float, point.split(","))) for point in course.points.split()]
        assert len(points) == min(length, SAMPLES) - 1
        assert points[-1] == (100.0, 1.0)
        assert all(0 <= x <= 100 and 0 <= y <= 20 for x, y in points)
