"""Spans on their way to a collector: all of them where it takes them, and no wait for one that does not."""

import asyncio
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import trustme
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from shared import otlp
from shared.otlp import SpanExport, open_export
from shared.settings import TracingSettings
from shared.tracing import Sampling, Span, Tracing
from tests.harness.collector import Collector, collecting
from tests.harness.waiting import wait_until

PARENT = f"00-{'a' * 32}-{'b' * 16}-01"


@contextmanager
def exporting(collector: Collector, **settings: Any) -> Iterator[SpanExport]:
    """To that collector, at once if not told otherwise."""
    given = TracingSettings.model_validate(
        {"otel_exporter_otlp_endpoint": collector.url, "otel_bsp_schedule_delay": 1} | settings
    )
    assert given.traces_url == f"{collector.url}/v1/traces"
    export = open_export("tester", given, given.traces_url)
    try:
        yield export
    finally:
        export.close(0)


def a_span(export: SpanExport, name: str = "work") -> Span:
    """One that is recorded."""
    span = Tracing(Sampling(), export).begin(name, "client", PARENT)
    assert span is not None
    return span


def dropped(export: SpanExport, reason: str) -> float:
    """How many are gone, as Prometheus is told."""
    registry = CollectorRegistry()
    registry.register(export)
    return registry.get_sample_value("tracing_spans_dropped_total", {"reason": reason}) or 0.0


async def test_a_span_arrives_as_it_was() -> None:
    """Its service, its place in the trace, what it says, its links and its error."""
    async with collecting() as collector:
        with exporting(collector) as export:
            span = a_span(export)
            span.attributes["order.id"] = "o1"
            span.links.append(f"00-{'c' * 32}-{'d' * 16}-01")
            span.end(ValueError("bad"))
            await wait_until(lambda: bool(collector.spans))
    (seen,) = collector.spans
    assert (seen.service, seen.name, seen.trace_id) == ("tester", "work", "a" * 32)
    assert (seen.parent_id, seen.span_id, seen.links) == ("b" * 16, span.span_id, ["d" * 16])
    assert (seen.attributes, seen.is_error) == ({"order.id": "o1"}, True)


async def test_a_collector_of_another_may_want_a_key_and_have_a_certificate_of_its_own(
    tmp_path: Path,
) -> None:
    """It is told what the settings say, and believed by their CA alone."""
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with collecting(tls) as collector:
        with exporting(collector) as export:
            a_span(export).end()
            await wait_until(lambda: dropped(export, "not_taken") == 1)
        trusted: dict[str, Any] = {
            "otel_exporter_otlp_certificate": tmp_path / "ca.pem",
            "otel_exporter_otlp_headers": "api-key=a%20secret, tenant=1",
        }
        with exporting(collector, **trusted) as export:
            a_span(export).end()
            await wait_until(lambda: bool(collector.spans))
    (told,) = collector.headers
    assert (told["api-key"], told["tenant"]) == ("a secret", "1")


@pytest.mark.parametrize("behaviour", ["refuses", "redirects"])
async def test_what_the_collector_refuses_is_counted_and_the_next_is_sent(
    behaviour: Literal["refuses", "redirects"],
) -> None:
    """One refusal does not end the sending. Where a redirect leads, spans and keys do not go."""
    async with collecting() as collector:
        collector.behaviour = behaviour
        with exporting(collector) as export:
            a_span(export, "first").end()
            await wait_until(lambda: dropped(export, "not_taken") == 1)
            collector.behaviour = "takes"
            a_span(export, "second").end()
            await wait_until(lambda: [span.name for span in collector.spans] == ["second"])


async def test_a_collector_that_hangs_delays_nothing_and_what_finds_the_queue_full_is_counted() -> None:
    """Neither the end of a span nor that of the service waits for it."""
    async with collecting() as collector:
        collector.behaviour = "hangs"
        with exporting(collector, otel_bsp_max_queue_size=2) as export:
            a_span(export).end()
            await wait_until(lambda: collector.requests == 1)
            for _ in range(5):
                a_span(export).end()
            assert dropped(export, "queue_full") == 3
            began = time.monotonic()
            await asyncio.to_thread(export.close, 0.05)
            assert time.monotonic() - began < otlp.SEND_SECONDS / 2
            a_span(export).end()
            assert (dropped(export, "queue_full"), dropped(export, "service_ended")) == (3, 3)


async def test_what_has_not_been_sent_when_a_service_ends_is_sent_then() -> None:
    """However long the next turn would have been."""
    async with collecting() as collector:
        with exporting(collector, otel_bsp_schedule_delay=3_600_000) as export:
            a_span(export).end()
            await asyncio.to_thread(export.close, 10.0)
            assert [span.name for span in collector.spans] == ["work"]
            assert dropped(export, "service_ended") == 0


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, None),
        ({"otel_exporter_otlp_endpoint": "http://h:4318/"}, "http://h:4318/v1/traces"),
        ({"otel_exporter_otlp_traces_endpoint": "http://h/spans"}, "http://h/spans"),
        ({"otel_exporter_otlp_endpoint": "http://h:4318", "otel_sdk_disabled": True}, None),
        ({"otel_exporter_otlp_endpoint": "http://h:4318", "otel_traces_exporter": "none"}, None),
    ],
)
def test_traces_are_on_where_a_collector_is_named(settings: dict[str, str], url: str | None) -> None:
    """By the variables that every user of OpenTelemetry knows."""
    assert TracingSettings.model_validate(settings).traces_url == url


@pytest.mark.parametrize("headers", ["key=a%0D%0Ab", "key=%00", "key=%E2%82%AC", "caf\u00e9=1"])
def test_headers_that_no_request_can_carry_are_refused_at_the_start(headers: str) -> None:
    """Each would end the sending for good, at the first span."""
    with pytest.raises(ValidationError, match="must"):
        TracingSettings.model_validate({"otel_exporter_otlp_headers": headers})
