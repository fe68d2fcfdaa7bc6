"""Spans on their way to a collector: by OTLP over HTTP, in a thread that no request and no order waits for.

Imported by services that trace, and by no other: it brings OpenTelemetry along. A span that has ended is put
into a bounded queue, which costs next to nothing; everything else, its form as OpenTelemetry has it included,
is the thread's work. What finds the queue full, or is not taken by the collector, is counted and gone.
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.logs import get_logger
from shared.settings import TracingSettings
from shared.tracing import Span

NAMESPACE: Final = "order-pipeline"
EXPORT_SECONDS: Final = 5.0
"""How long a collector may take for one request, attempts included."""
FLUSH_SECONDS: Final = 1.0
"""How long the end of a service waits for what has not been sent."""

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("order_pipeline")

log = get_logger(__name__)


class SpanExport(Collector):
    """Takes spans that have ended and sends them; as a collector of Prometheus', says how many went where."""

    def __init__(self, service: str, settings: TracingSettings, exporter: SpanExporter) -> None:
        self._resource = Resource.create(
            {"service.name": settings.otel_service_name or service, "service.namespace": NAMESPACE}
        )
        self._exporter = exporter
        self._most = settings.otel_bsp_max_queue_size
        self._at_once = min(settings.otel_bsp_max_export_batch_size, self._most)
        self._delay_seconds = settings.otel_bsp_schedule_delay / 1_000
        self._queue: deque[Span] = deque()
        self._wake = threading.Event()
        self._is_closed = self._is_over = False
        self._takes = True
        self._sent = self._found_full = self._not_taken = self._left = 0
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def add(self, span: Span) -> None:
        """Takes a span, or counts it as dropped. Never waits, never raises."""
        if self._is_closed:
            self._left += 1
            return
        if len(self._queue) >= self._most:
            self._found_full += 1
            return
        self._queue.append(span)
        if len(self._queue) >= self._at_once:
            self._wake.set()

    def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Sends what there is for that long at most; the rest is dropped."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(seconds)
        self._is_over = True
        self._left += len(self._queue)
        self._exporter.shutdown()

    def collect(self) -> Iterator[Metric]:
        """The figures, for a registry."""
        sent = CounterMetricFamily("tracing_spans_exported", "Spans that the collector has taken")
        sent.add_metric([], self._sent)
        yield sent
        dropped = CounterMetricFamily("tracing_spans_dropped", "Spans that are gone", labels=["reason"])
        dropped.add_metric(["queue_full"], self._found_full)
        dropped.add_metric(["not_taken"], self._not_taken)
        dropped.add_metric(["service_ended"], self._left)
        yield dropped

    def _run(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._is_closed  # looked at before the queue is: what was added until then is sent
            if not is_last:
                self._wake.wait(self._delay_seconds)
                self._wake.clear()
            while self._queue and not self._is_over:
                self._send([self._queue.popleft() for _ in range(min(len(self._queue), self._at_once))])

    def _send(self, spans: Sequence[Span]) -> None:
        try:
            result = self._exporter.export([self._readable(span) for span in spans])
        except Exception as error:  # whatever it is, the next spans are to be tried too
            log.exception("spans not sent", error=repr(error))
            result = SpanExportResult.FAILURE
        took = result is SpanExportResult.SUCCESS
        if took:
            self._sent += len(spans)
        else:
            self._not_taken += len(spans)
        if took is not self._takes:
            self._takes = took
            level = log.info if took else log.warning
            level(
                "the collector takes spans again" if took else "the collector takes no spans: they are gone"
            )

    def _readable(self, span: Span) -> ReadableSpan:
        context = _context(span.trace_id, span.span_id)
        return ReadableSpan(
            span.name,
            context=context,
            parent=_context(span.trace_id, span.parent_id) if span.parent_id else None,
            resource=self._resource,
            attributes=span.attributes,
            links=[Link(_context(link[3:35], link[36:52])) for link in span.links],
            kind=SpanKind[span.kind.upper()],
            status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
            start_time=span.began,
            end_time=span.ended,
            instrumentation_scope=_SCOPE,
        )


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=_SAMPLED)


def open_export(service: str, settings: TracingSettings, url: str) -> SpanExport:
    """Spans of a service to the collector behind ``url``."""
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # says each failure; we say the first
    return SpanExport(service, settings, OTLPSpanExporter(url, timeout=EXPORT_SECONDS))
