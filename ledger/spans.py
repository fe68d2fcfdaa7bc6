"""Spans of what is written, in the traces of the orders that it is about.

The log of steps has no room for traces, and needs none: an order's record has its trace, and is read when its
first step is. The traces that are recorded are remembered for the steps that follow.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from ledger.store import Batch
from shared.tracing import ORDER_ID, Span, Tracing, is_sampled, working_on


class LedgerSpans:
    """Begins them by ``tracer``, if there is one; it remembers the traces of ``most`` orders."""

    def __init__(self, tracer: Tracing | None, most: int) -> None:
        self._tracer = tracer
        self._most = most
        self._traceparents: dict[str, str] = {}

    @contextmanager
    def writing(self, batch: Batch, order_ids: Sequence[str]) -> Iterator[None]:
        """The block writes these steps of the orders: a span for each order, and one for the batch."""
        tracer = self._tracer
        orders = dict.fromkeys(order_ids)
        spans = {} if tracer is None else self._begun(tracer, batch, orders)
        if tracer is None or not spans:
            yield
            return
        with working_on(tracer, "ledger batch", spans, of=len(orders)):
            yield

    def _begun(self, tracer: Tracing, batch: Batch, order_ids: Iterable[str]) -> dict[str, Span]:
        known = self._traceparents
        for record in batch.records:
            traceparent = record.trace.traceparent
            if is_sampled(traceparent):
                known[record.order.id] = traceparent
        spans = {}
        for order_id in order_ids:
            span = tracer.begin("ledger write", "consumer", known.get(order_id))
            if span is not None:
                span.attributes[ORDER_ID] = order_id
                spans[order_id] = span
        while len(known) > self._most:
            del known[next(iter(known))]
        return spans
