"""What the brokers charge: for a message, by its size, and for one more consumer of every event."""

import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from benchmarks.contestants import Numbers, placed, warm_up
from benchmarks.stage import Stage, cpu_us_per_order, words_of
from orderctl.native.layout import project_root

MESSAGES_BY_BYTES: Final = {400: 2_000, 4_000: 2_000, 25_000: 1_000, 128_000: 500}
"""How many are published of each size: enough for a second of the brokers' CPU, and no full disk."""
CONSUMER_SECONDS: Final = 60.0


def by_size(stage: Stage, repetitions: int) -> dict[str, list[float]]:
    """The brokers' CPU per confirmed message in microseconds, by its bytes; sizes take turns."""
    found: dict[str, list[float]] = {str(size): [] for size in MESSAGES_BY_BYTES}
    for _ in range(repetitions):
        for size, messages in MESSAGES_BY_BYTES.items():
            result = stage.bare("bare_publisher", bytes=size, messages=messages)
            found[str(size)].append(result["brokers_cpu_us_per_message"])
    return found


def one_more_consumer(stage: Stage, orders: int, pairs: int) -> list[dict[str, float]]:
    """The brokers' CPU per order in microseconds, with and without it, in turns on the same pipeline."""
    with stage.pipeline() as pids:
        warm_up(stage)
        return [_pair(stage, pids, orders, is_first=bool(number % 2)) for number in range(pairs)]


def _pair(stage: Stage, pids: Mapping[str, int], orders: int, *, is_first: bool) -> dict[str, float]:
    """Whichever goes first gains or loses by it: they take turns in that as well."""
    found = {}
    for is_with in (is_first, not is_first):
        run = _with_consumer if is_with else placed
        found["with" if is_with else "without"] = run(stage, pids, orders)["cpu_us brokers"]
    return found


def _with_consumer(stage: Stage, pids: Mapping[str, int], orders: int) -> Numbers:
    with _consumer(stage, orders) as all_acked:
        before = stage.use(pids)
        placed(stage, pids, orders)
        all_acked()
        used = cpu_us_per_order(before, stage.use(pids), orders)
    return {"cpu_us brokers": used["brokers"]}


@contextmanager
def _consumer(stage: Stage, events: int) -> Iterator[Callable[[], None]]:
    """It consumes before the first order is placed; what is given waits until it has acked ``events``."""
    options = {"url": stage.cluster.rabbitmq_urls[0], "events": events, "seconds": CONSUMER_SECONDS}
    words = words_of("bare_consumer", options)
    with subprocess.Popen(words, cwd=project_root(), stdout=subprocess.PIPE, text=True) as process:

        def its_next_line() -> None:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError("the further consumer ended before it had acked every event")

        try:
            its_next_line()
            yield its_next_line
            process.wait(CONSUMER_SECONDS)
        finally:
            process.kill()
