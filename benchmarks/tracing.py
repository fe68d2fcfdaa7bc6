"""What traces cost: the pipeline and its ledger without them, and with a tenth of the orders traced.

The collector takes everything and keeps nothing; its CPU is not counted, being another machine's.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final
from urllib.request import urlopen

from benchmarks.contestants import Numbers, Rows, bare_server, placed, warm_up
from benchmarks.stage import SERVICES, Stage
from orderctl.native import processes

UNTRACED: Final = "orders without traces"
TRACED: Final = "orders, a tenth of them traced"
SHARE: Final = "0.1"
SENT_SECONDS: Final = 30.0
"""Until each service has sent for the first time, which takes it longer than any time after."""
_SENT: Final = re.compile(r"^tracing_spans_exported_total [1-9]", re.MULTILINE)


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
        if settings and not processes.wait_until(lambda: _all_send(stage, pids), SENT_SECONDS, 0.2):
            raise TimeoutError("a service sends no spans")
        return placed(stage, pids, orders)


def _all_send(stage: Stage, services: Iterable[str]) -> bool:
    return all(_SENT.search(_metrics(stage, name)) for name in services)


def _metrics(stage: Stage, service: str) -> str:
    url = f"{stage.services.operations_url(service)}/metrics"
    with urlopen(url) as answer:  # noqa: S310 - http, to ourselves
        text: str = answer.read().decode()
        return text
