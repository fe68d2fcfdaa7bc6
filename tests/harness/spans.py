"""Spans kept in a list, for tests of what is begun and in whose trace."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from shared.tracing import Sampling, Span, Tracing, tracing_by


@dataclass(slots=True)
class KeptSpans:
    """Every span that has ended, in that order."""

    spans: list[Span] = field(default_factory=list)

    def add(self, span: Span) -> None:
        self.spans.append(span)

    def collect(self) -> Iterable[Any]:
        return ()

    def named(self, name: str) -> list[Span]:
        """Those that are called so."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def keeping_spans() -> Iterator[KeptSpans]:
    """The block traces everything, and what it has begun is kept."""
    kept = KeptSpans()
    with tracing_by(Tracing(Sampling("always_on"), kept)):
        yield kept
