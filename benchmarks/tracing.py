"""What traces cost: the pipeline and its ledger without them, and with a tenth of the orders traced.

The collector takes everything and keeps nothing; its CPU is not counted, being another machine's.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from benchmarks.contestants import Numbers, Rows, bare_server, placed, warm_up
from benchmarks.stage import SERVICES, Stage

UNTRACED: Final = "orders without traces"
TRACED: Final = "orders, a tenth of them traced"
SHARE: Final = "0.1"


def rounds(stage: Stage, orders: int, count: int) -> Iterator[Rows]:
    """A pair in each round; which of the two goes first changes from round to round."""
    with bare_server(stage) as collector:
        on = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_TRACES_SAMPLER_ARG": SHARE}
        settings: dict[str, Mapping[str, str]] = {UNTRACED: {}, TRACED: on}
        for number in range(count):
            names = list(settings) if number % 2 else list(reversed(settings))
            yield {name: _run(stage, settings[name], orders) for name in names}


def _run(stage: Stage, settings: Mapping[str, str], orders: int) -> Numbers:
    with stage.pipeline(settings, services=(*SERVICES, "ledger")) as pids:
        warm_up(stage)
        return placed(stage, pids, orders)
