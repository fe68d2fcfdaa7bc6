"""Spans on their way to a collector: by OTLP over HTTP, in a thread that no request and no order waits for.

Imported by services that trace, and by no other: it brings OpenTelemetry's messages along. A span that has
ended is put into a bounded queue, which costs next to nothing; everything else, its form on the wire
included, is the thread's work. What finds the queue full, or is not taken by the collector, is counted and
gone.

Spans become OpenTelemetry's messages here and not in its exporter, which makes three times the work of it.
"""

import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Final
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as wire
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.logs import get_logger
from shared.settings import TracingSettings
from shared.tracing import Span, Value

NAMESPACE: Final = "order-pipeline"
SEND_SECONDS: Final = 5.0
"""How long a collector may take to answer."""
FLUSH_SECONDS: Final = 1.0
"""How long the end of a service waits for what has not been sent."""

_KINDS: Final = {
    "internal": wire.Span.SPAN_KIND_INTERNAL,
    "server": wire.Span.SPAN_KIND_SERVER,
    "client": wire.Span.SPAN_KIND_CLIENT,
    "producer": wire.Span.SPAN_KIND_PRODUCER,
    "consumer": wire.Span.SPAN_KIND_CONSUMER,
}
_SCOPE: Final = InstrumentationScope(name="order_pipeline")

log = get_logger(__name__)

Send = Callable[[bytes], None]
"""Hands a request to the collector. Raises OSError or HTTPException where that does not take it."""


class SpanExport(Collector):
    """Takes spans that have ended and sends them; as a collector of Prometheus', says how many went where."""

    def __init__(self, service: str, settings: TracingSettings, send: Send) -> None:
        named = {"service.namespace": NAMESPACE, "service.name": service} | settings.resource_attributes
        if settings.otel_service_name:
            named["service.name"] = settings.otel_service_name
        self._resource = Resource(attributes=_attributes(named))
        self._send = send
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
                self._pass_on([self._queue.popleft() for _ in range(min(len(self._queue), self._at_once))])

    def _pass_on(self, spans: Sequence[Span]) -> None:
        try:
            self._send(self._request(spans))
        except (OSError, HTTPException) as error:
            self._not_taken += len(spans)
            if self._takes:
                log.warning("the collector takes no spans: they are gone", error=str(error))
            self._takes = False
        else:
            self._sent += len(spans)
            if not self._takes:
                log.info("the collector takes spans again")
            self._takes = True

    def _request(self, spans: Sequence[Span]) -> bytes:
        of_scope = wire.ScopeSpans(scope=_SCOPE, spans=map(_message, spans))
        of_service = wire.ResourceSpans(resource=self._resource, scope_spans=[of_scope])
        body: bytes = ExportTraceServiceRequest(resource_spans=[of_service]).SerializeToString()
        return body


def _message(span: Span) -> wire.Span:
    return wire.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id or ""),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.began,
        end_time_unix_nano=span.ended,
        attributes=_attributes(span.attributes),
        links=[
            wire.Span.Link(trace_id=bytes.fromhex(link[3:35]), span_id=bytes.fromhex(link[36:52]))
            for link in span.links
        ],
        status=wire.Status(code=wire.Status.STATUS_CODE_ERROR, message=span.error) if span.error else None,
    )


def _attributes(values: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in values.items()]


def _value(value: Value) -> AnyValue:
    return AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: what answers by a redirect has failed."""


def posting(url: str, settings: TracingSettings) -> Send:
    """Posts to a collector at ``url``, http or https, with the headers and the CA that the settings name.

    A redirect is an error: urllib would follow it by a GET without the spans, and with the headers.
    """
    headers = {"Content-Type": "application/x-protobuf"} | settings.collector_headers
    file = settings.otel_exporter_otlp_certificate
    tls = [HTTPSHandler(context=ssl.create_default_context(cafile=file))] if url.startswith("https:") else []
    opener = build_opener(_NoRedirects, *tls)

    def post(body: bytes) -> None:
        asked = Request(url, data=body, headers=headers)  # noqa: S310 - the settings take http and https alone
        with opener.open(asked, timeout=SEND_SECONDS) as answer:
            answer.read()

    return post


def open_export(service: str, settings: TracingSettings, url: str) -> SpanExport:
    """Spans of a service to the collector behind ``url``."""
    return SpanExport(service, settings, posting(url, settings))
