"""Latency below saturation, open loop: from the moment at which a request was due."""

from typing import Any, Final

from benchmarks.contestants import Numbers, percentiles, warm_up
from benchmarks.stage import Stage

STEADY_RATE: Final = 300.0


def measure(stage: Stage, half_load: float, seconds: float) -> dict[str, Any]:
    """At half of the saturated rate, and at a steady one beside a confirm at the same rate."""
    steady = round(STEADY_RATE * seconds)
    with stage.pipeline():
        warm_up(stage)
        half = _paced(stage, half_load, max(100, round(half_load * seconds)))
        at_steady_rate = _paced(stage, STEADY_RATE, steady)
    confirm = stage.bare("bare_amqp", orders=steady, rate=STEADY_RATE)["confirm_ms"]
    return {
        "half load": half,
        "steady": {**at_steady_rate, **percentiles("confirm", confirm)},
    }


def _paced(stage: Stage, rate: float, orders: int) -> Numbers:
    seen = stage.load(orders=orders, rate=rate)
    return {
        "rate": rate,
        "refused": seen["refused"],
        **percentiles("accept", seen["accept_ms"]),
        **percentiles("notified", seen["notified_ms"]),
    }
