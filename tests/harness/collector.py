"""A collector of spans on loopback: takes OTLP over HTTP, decodes it, and misbehaves when it is told to."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectedSpan:
    """A span as a collector sees it; ids in hexadecimal digits."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    links: list[str]
    is_error: bool


@dataclass(slots=True)
class Collector:
    """What has arrived so far. ``behaviour`` says what becomes of requests."""

    spans: list[CollectedSpan] = field(default_factory=list)
    behaviour: Literal["takes", "refuses", "redirects", "hangs"] = "takes"
    requests: int = 0
    headers: list[Mapping[str, str]] = field(default_factory=list)
    url: str = ""

    def trace(self, trace_id: str) -> list[CollectedSpan]:
        """Its spans, in the order of their arrival."""
        return [span for span in self.spans if span.trace_id == trace_id]

    def named(self, name: str) -> list[CollectedSpan]:
        """Spans of all traces."""
        return [span for span in self.spans if span.name == name]

    async def take(self, request: web.Request) -> web.Response:
        """Answers an export."""
        self.requests += 1
        self.headers.append(request.headers)
        if self.behaviour == "hangs":
            await asyncio.Event().wait()
        if self.behaviour == "refuses":
            return web.Response(status=400)
        if self.behaviour == "redirects" and request.method == "POST":
            return web.Response(status=301, headers={"Location": f"{self.url}/elsewhere"})
        self.spans += _decoded(await request.read())
        return web.Response(
            body=ExportTraceServiceResponse().SerializeToString(), content_type="application/x-protobuf"
        )


def _decoded(body: bytes) -> list[CollectedSpan]:
    found = []
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = _attributes(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            found += [
                CollectedSpan(
                    service=about["service.name"],
                    name=span.name,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    attributes=_attributes(span.attributes),
                    links=[link.span_id.hex() for link in span.links],
                    is_error=span.status.code == span.status.STATUS_CODE_ERROR,
                )
                for span in scope_spans.spans
            ]
    return found


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


@asynccontextmanager
async def collecting(tls: ssl.SSLContext | None = None) -> AsyncIterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.take)
    app.router.add_get("/elsewhere", collector.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        collector.url = f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        yield collector
    finally:
        await runner.cleanup()
