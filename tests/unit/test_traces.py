"""What a collector gets of a pipeline in this process: one order's trace; and nothing where it is off."""

import ast
import asyncio
import inspect
import re

import structlog

from shared.logs import with_trace
from shared.service import lifecycle
from shared.tracing import trace_id_of
from tests.harness.collector import collecting
from tests.harness.traced import MET_BY_AN_ORDER, sending_to, traced_pipeline
from tests.harness.waiting import wait_until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
ALONE = {("order_processor", "redis decide"), ("notifier", "redis claim"), ("ledger", "sql transaction")}
"""What stands in an order's own trace unless it is done for several at once."""
IN_ANY_CASE = {
    ("api_gateway", "POST /orders"),
    ("api_gateway", "redis accept"),
    ("api_gateway", "publish order.placed"),
    ("order_processor", "process order.placed.v1"),
    ("order_processor", "publish order.created"),
    ("notifier", "process order.created.v1"),
    ("notifier", "send"),
    ("ledger", "ledger write"),
}


async def test_one_order_s_trace_shows_every_service_that_it_met() -> None:
    """Gateway, publish, decision, notification and ledger, below the span of the client that asked; log lines
    and examples of latency lead to it. A header that names no trace begins a new one.
    """
    async with collecting() as collector, traced_pipeline(sending_to(collector)) as pipeline:
        await pipeline.metrics("ledger")
        with structlog.testing.capture_logs([with_trace]) as lines:
            await pipeline.place("order1", traceparent=PARENT)

            def missing() -> set[tuple[str, str]]:
                return (IN_ANY_CASE | ALONE) - {
                    (span.service, span.name) for span in collector.trace(TRACE_ID)
                }

            await wait_until(lambda: not missing(), what=lambda: str(missing()))
        headers = {"traceparent": f"00-{'0' * 32}-{'1' * 16}-01"}
        async with pipeline.client.get("/orders/order1", headers=headers) as answer:
            assert answer.status == 200
        await wait_until(lambda: bool(collector.named("GET /orders/{id}")))
        assert collector.named("GET /orders/{id}")[0].parent_id == ""
        spans = {span.span_id: span for span in collector.trace(TRACE_ID)}
        assert {span.parent_id for span in spans.values()} - spans.keys() == {PARENT[36:52]}
        orders = {span.service: span.attributes.get("order.id") for span in spans.values()}
        assert orders.keys() == set(MET_BY_AN_ORDER)
        said = {line["event"] for line in lines if line.get("trace_id") == TRACE_ID}
        assert {"order accepted", "order.created.v1", "notification"} <= said
        for service, figure in (("api_gateway", "http_request"), ("notifier", "delivery_batch")):
            examples = rf'^{figure}_seconds_bucket.* # {{trace_id="{TRACE_ID}"}}'
            assert re.search(examples, await pipeline.metrics(service, OPEN_METRICS), re.MULTILINE)
            assert "trace_id" not in await pipeline.metrics(service)
        assert {span.name for span in collector.spans if span.name.startswith("GET")} == {"GET /orders/{id}"}
        assert "tracing_spans_dropped_total" in await pipeline.metrics("ledger")


async def test_what_is_not_sampled_is_not_sent() -> None:
    """Nor anywhere behind the gateway: its trace is marked so. A client that traces decides for its own."""
    async with (
        collecting() as collector,
        traced_pipeline(sending_to(collector, otel_traces_sampler_arg=0.0)) as pipeline,
    ):
        for number in range(5):
            await pipeline.place(f"order{number}")
        await pipeline.place("traced", traceparent=PARENT)
        await wait_until(lambda: "ledger write" in {span.name for span in collector.spans})
    assert [span.trace_id for span in collector.named("POST /orders")] == [TRACE_ID]
    assert {span.attributes["order.id"] for span in collector.spans if "order.id" in span.attributes} == {
        "traced"
    }


async def test_orders_that_come_together_are_traced_each_for_itself() -> None:
    """However many of them share a message, a script and a transaction; batches are linked with them."""
    parents = {f"order{number}": f"00-{number:032x}-{number:016x}-01" for number in range(1, 9)}
    async with collecting() as collector, traced_pipeline(sending_to(collector)) as pipeline:

        def missing() -> list[set[tuple[str, str]]]:
            traces = [collector.trace(trace_id_of(parent)) for parent in parents.values()]
            return [IN_ANY_CASE - {(span.service, span.name) for span in trace} for trace in traces]

        await asyncio.gather(*(pipeline.place(name, traceparent=parent) for name, parent in parents.items()))
        await wait_until(lambda: not any(missing()), what=lambda: str(missing()))
    own = {name: collector.trace(trace_id_of(parent)) for name, parent in parents.items()}
    for name, trace in own.items():
        assert {span.attributes["order.id"] for span in trace if "order.id" in span.attributes} == {name}
    links = {span.span_id: span.links for trace in own.values() for span in trace}
    batches = [span for span in collector.spans if "batch" in span.name]
    assert {"process batch orders.queue", "ledger batch"} <= {span.name for span in batches}
    assert all(links[linked] == [batch.span_id] for batch in batches for linked in batch.links)


async def test_a_collector_that_hangs_holds_up_no_order_and_no_end() -> None:
    """Orders are decided, and the services end although it never answers."""
    async with collecting() as collector:
        collector.behaviour = "hangs"
        async with traced_pipeline(sending_to(collector, otel_bsp_max_queue_size=1)) as pipeline:
            await wait_until(lambda: collector.requests > 0)
            for number in range(5):
                await pipeline.place(f"order{number}")

            async def is_decided() -> bool:
                async with pipeline.client.get("/orders/order4") as answer:
                    return bool((await answer.json())["status"] == "created")

            await wait_until(is_decided, what="the last order is decided")
            full = re.search(
                r'^tracing_spans_dropped_total{reason="queue_full"} (\S+)',
                await pipeline.metrics("api_gateway"),
                re.MULTILINE,
            )
            assert full is not None
            assert float(full[1]) > 0


def test_who_does_not_trace_does_not_import_what_sends_spans() -> None:
    """It brings OpenTelemetry along; a module that is imported in any case has it nowhere at its top."""
    tree = ast.parse(inspect.getsource(lifecycle))
    assert "shared.otlp" not in {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
