"""One order's trace, as a collector gets it."""

from tests.harness.collector import collecting
from tests.harness.traced import sending_to, traced_pipeline
from tests.harness.waiting import wait_until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
OF_AN_ORDER = {
    ("api_gateway", "POST /orders"),
    ("api_gateway", "redis accept"),
    ("api_gateway", "publish order.placed"),
    ("order_processor", "process order.placed.v1"),
    ("order_processor", "redis decide"),
    ("order_processor", "publish order.created"),
    ("notifier", "process order.created.v1"),
    ("notifier", "redis claim"),
    ("notifier", "send"),
    ("ledger", "ledger write"),
    ("ledger", "sql transaction"),
}


async def test_one_order_s_trace_shows_every_service_that_it_met() -> None:
    """Gateway, publish, decision, notification and ledger, below the span of the client that asked."""
    async with collecting() as collector, traced_pipeline(sending_to(collector)) as pipeline:
        await pipeline.place("order1", traceparent=PARENT)

        def seen() -> set[tuple[str, str]]:
            return {(span.service, span.name) for span in collector.trace(TRACE_ID)}

        await wait_until(lambda: seen() >= OF_AN_ORDER, what=lambda: str(OF_AN_ORDER - seen()))
        spans = {span.span_id: span for span in collector.trace(TRACE_ID)}
        assert all(span.parent_id in spans or span.parent_id == PARENT[36:52] for span in spans.values())
