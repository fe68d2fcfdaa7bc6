"""Spans: what a piece of work was, when it began and ended, and in whose trace it stands.

A service that traces has a :class:`Tracing` for as long as it runs; its tasks find it, and the span that
they work in, in their context, as log lines find what they carry. Without one nothing is begun or changed.
Where a trace is not recorded there is no span, and None stands in its place.

This module knows no library. ``shared.otlp`` turns spans into OpenTelemetry's and sends them, in a thread.
"""

import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Protocol, TypeGuard

Kind = Literal["internal", "server", "client", "producer", "consumer"]
Value = str | int
Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]

ORDER_ID: Final = "order.id"
_SANE: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_SAMPLED: Final = frozenset("13579bdf")
_RANDOM: Final = random.Random()
_LOW_BITS: Final = 1 << 64


def is_sane(traceparent: str) -> bool:
    """Whether it is a W3C Trace Context header of version 00 that names a trace and a span."""
    return _SANE.fullmatch(traceparent) is not None


def is_sampled(traceparent: str | None) -> TypeGuard[str]:
    """Whether its trace is recorded."""
    return traceparent is not None and traceparent[-1:] in _SAMPLED and is_sane(traceparent)


def trace_id_of(traceparent: str) -> str:
    """The 32 digits of the trace of a sane header."""
    return traceparent[3:35]


def new_span_id() -> str:
    """16 digits that are not all zero."""
    return f"{_RANDOM.getrandbits(63) + 1:016x}"


class SpanSink(Protocol):
    """Takes spans that have ended."""

    def add(self, span: "Span") -> None:
        """Takes one, or counts it as dropped. Never waits, never raises."""

    def collect(self) -> Iterable[Any]:
        """What became of them, as Prometheus' registry collects it."""


@dataclass(slots=True, eq=False)
class Span:
    """One piece of work of a trace that is recorded. Times are nanoseconds since the epoch.

    ``links`` are traceparents of spans that it belongs to besides its parent. A span of work on several at
    once has the spans of those that are recorded as its ``parts``, by what they are about.
    """

    name: str
    kind: Kind
    trace_id: str
    parent_id: str | None
    sink: SpanSink
    span_id: str = field(default_factory=new_span_id)
    attributes: dict[str, Value] = field(default_factory=dict)
    links: list[str] = field(default_factory=list)
    began: int = field(default_factory=time.time_ns)
    ended: int = 0
    error: str = ""
    parts: Mapping[str, "Span"] | None = None

    @property
    def traceparent(self) -> str:
        """What names it as the parent of others."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    def child(self, name: str, kind: Kind = "internal") -> "Span":
        """A part of this work, which begins now."""
        return Span(name, kind, self.trace_id, self.span_id, self.sink)

    def end(self, error: BaseException | None = None) -> None:
        """It ends now, well or with ``error``, of which it tells the kind alone: words may name customers."""
        self.ended = time.time_ns()
        if error is not None:
            self.error = type(error).__name__
        self.sink.add(self)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which traces are recorded, as ``OTEL_TRACES_SAMPLER`` and its argument say."""

    sampler: Sampler = "parentbased_always_on"
    ratio: float = 1.0

    def takes(self, trace_id: str, *, parent_is_sampled: bool | None) -> bool:
        """Whether a trace is recorded that begins here (None), or that a caller began."""
        kind = self.sampler
        if kind.startswith("parentbased_") and parent_is_sampled is not None:
            return parent_is_sampled
        if kind.endswith("traceidratio"):
            return int(trace_id[16:], 16) < round(self.ratio * _LOW_BITS)
        return kind.endswith("always_on")


class Tracing:
    """Begins the spans of one service and gives those that have ended to ``sink``."""

    def __init__(self, sampling: Sampling, sink: SpanSink) -> None:
        self._sampling = sampling
        self.sink = sink

    def arrived(self, name: str, traceparent: str, *, is_new: bool) -> tuple[Span | None, str]:
        """The span of a request, if it is recorded, and what its work names as its parent.

        ``traceparent`` is sane: the caller's, or one that was made for it, whose span this is then.
        """
        trace_id, span_id = trace_id_of(traceparent), traceparent[36:52]
        parent = None if is_new else traceparent[-1] in _SAMPLED
        if not self._sampling.takes(trace_id, parent_is_sampled=parent):
            return None, f"{traceparent[:-2]}00"
        span = Span(name, "server", trace_id, None if is_new else span_id, self.sink)
        if is_new:
            span.span_id = span_id
        return span, span.traceparent

    def begin(self, name: str, kind: Kind, parent: str | None) -> Span | None:
        """A span in the trace of an order or event, or None where that is not recorded."""
        if not is_sampled(parent):
            return None
        return Span(name, kind, trace_id_of(parent), parent[36:52], self.sink)

    def batch(self, name: str, parts: Mapping[str, Span]) -> Span:
        """The span of what is done for several at once, in a trace of its own; it and they are linked."""
        span = Span(name, "internal", f"{_RANDOM.getrandbits(127) + 1:032x}", None, self.sink)
        span.parts = parts
        for part in parts.values():
            span.links.append(part.traceparent)
            part.links.append(span.traceparent)
        return span


_tracing: Final[ContextVar[Tracing | None]] = ContextVar("tracing", default=None)
_span: Final[ContextVar[Span | None]] = ContextVar("span", default=None)


def tracing() -> Tracing | None:
    """What begins spans in this service, or None where it does not trace."""
    return _tracing.get()


def current_span() -> Span | None:
    """The span that this task works in, or None where it is not recorded."""
    return _span.get()


def trace_by(tracer: Tracing | None) -> None:
    """This task, and those that it starts from now on, begin their spans by ``tracer``."""
    _tracing.set(tracer)


@contextmanager
def tracing_by(tracer: Tracing) -> Iterator[None]:
    """The same for the block alone."""
    before = _tracing.get()
    trace_by(tracer)
    try:
        yield
    finally:
        trace_by(before)


class in_span:  # noqa: N801 - used as the statement that it is; a generator costs twice as much
    """The block works in ``span``, or in none. It ends with the block and fails with what leaves it, unless
    its owner ends it.
    """

    __slots__ = ("_ends", "_span", "_token")

    def __init__(self, span: Span | None, *, ends: bool = True) -> None:
        self._span = span
        self._ends = ends
        self._token: Token[Span | None] | None = None

    def __enter__(self) -> Span | None:
        self._token = _span.set(self._span)
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._token is not None:
            _span.reset(self._token)
        if self._span is not None and self._ends:
            self._span.end(error)


class part:  # noqa: N801 - the same
    """The block is a part of the work at hand: a span below the current one, if that is recorded.

    ``about`` says about which of several it is; the span is then below that one's own.
    """

    __slots__ = ("_about", "_inner", "_kind", "_name")

    def __init__(self, name: str, kind: Kind = "internal", *, about: str | None = None) -> None:
        self._about = about
        self._name = name
        self._kind = kind
        self._inner: in_span | None = None

    def __enter__(self) -> Span | None:
        outer = _span.get()
        if outer is not None and self._about is not None and outer.parts is not None:
            outer = outer.parts.get(self._about)
        if outer is None:
            return None
        self._inner = in_span(outer.child(self._name, self._kind))
        return self._inner.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._inner is not None:
            self._inner.__exit__(kind, error, trace)


@contextmanager
def ending(spans: Sequence[Span]) -> Iterator[None]:
    """They end with the block, and fail with what leaves it."""
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        for span in spans:
            span.end(error)


@contextmanager
def working_on(tracer: Tracing, name: str, spans: Mapping[str, Span], *, of: int) -> Iterator[None]:
    """The block works on ``of`` things at once, of which these are recorded, by what they are about.

    Their spans end with the block. It works in the one that there is, or in a span ``name`` of the batch.
    """
    if of == 1:
        (shared,) = ended = list(spans.values())
    else:
        shared = tracer.batch(name, spans)
        ended = [*spans.values(), shared]
    with ending(ended), in_span(shared, ends=False):
        yield


def log_fields(traceparent: str | None) -> Mapping[str, str]:
    """What a line about one of several orders carries whose trace is recorded, where this service traces."""
    if _tracing.get() is None or not is_sampled(traceparent):
        return {}
    return {"trace_id": trace_id_of(traceparent)}
