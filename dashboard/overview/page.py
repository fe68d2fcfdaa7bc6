"""The live page, rendered here in full, so that it can be read without JavaScript."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from dashboard.overview import tables
from dashboard.overview.attention import attention, is_old
from dashboard.overview.fragments import amount, duration, element, figure
from dashboard.overview.state import Answer, PipelineState, Question, QueueState, StoreState
from shared.keyspace import NotificationStatus, OrderStatus
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR

STATIC_FILES: Final = ("page.css", "page.js", "icon.svg")
_STORE_AWAY: Final = element("p", "Not known while the store is away.", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What one rendering shows."""

    state: PipelineState
    question: Question
    answer: Answer


class Page:
    """The template and the files that it refers to, read once."""

    def __init__(
        self, template: Template, static: Mapping[str, str], refresh_seconds: int, notice: str
    ) -> None:
        self._template = template
        self._refresh_seconds = refresh_seconds
        self._notice = element("p", notice, "notice unsure") if notice else ""
        self.files = static

    @classmethod
    def load(cls, refresh_seconds: int, notice: str = "") -> "Page":
        """Reads everything from the package; ``notice`` stands above everything else."""
        folder = files("dashboard")
        template = folder.joinpath("templates", "page.html").read_text(encoding="utf-8")
        static = {name: folder.joinpath("static", name).read_text(encoding="utf-8") for name in STATIC_FILES}
        return cls(Template(template), static, refresh_seconds, notice)

    def render(self, view: View) -> str:
        """The page as HTML."""
        state, store = view.state, view.state.store
        faults = attention(state)
        verdict = _verdict(len(faults))
        return self._template.substitute(
            title=escape(f"{verdict} – order pipeline"),
            refresh_seconds=self._refresh_seconds,
            notice=self._notice,
            verdict=escape(verdict),
            verdict_class="bad" if faults else "good",
            when=_when(state),
            attention=_attention(faults),
            flow="".join(_flow(state)),
            orders=_STORE_AWAY if store is None else tables.orders(store),
            notifications=_STORE_AWAY if store is None else tables.notifications(store),
            nodes=tables.nodes(state.broker.nodes),
            queues=tables.queues(state.broker),
            queues_class="old" if is_old(state.broker) else "now",
            stock=_STORE_AWAY if store is None else tables.stock(store.inventory),
            asked_sku=escape(view.question.sku or ""),
            asked_order_id=escape(view.question.order_id or ""),
            answer="".join(_answer(view)),
        )


def _verdict(faults: int) -> str:
    if faults == 0:
        return "All is well"
    return "1 thing needs attention" if faults == 1 else f"{faults} things need attention"


def _attention(faults: Sequence[str]) -> str:
    if not faults:
        return ""
    return f'<ul class="attention bad">{"".join(element("li", fault) for fault in faults)}</ul>'


def _when(state: PipelineState) -> str:
    parts = []
    if state.store is not None:
        parts.append(f"as of {_time(state.store.read_at)}")
    if state.broker.observed_at is not None:
        parts.append(f"queues as of {_time(state.broker.observed_at)}")
    return "; ".join(parts)


def _time(instant: datetime) -> str:
    return f'<time datetime="{instant.isoformat()}">{instant:%H:%M:%S}</time>'


def _flow(state: PipelineState) -> Iterable[str]:
    store = state.store
    queues = {} if is_old(state.broker) else state.broker.queues
    waiting = None if store is None else store.outbox
    yield _station("Outbox", waiting, _oldest(store))
    yield _queue_station(ORDER_PROCESSOR.queue, queues.get(ORDER_PROCESSOR.queue))
    yield _station("Decided", None if store is None else store.processed, _decisions(store))
    yield _queue_station(NOTIFIER.queue, queues.get(NOTIFIER.queue))
    sent = None if store is None else store.notifications[NotificationStatus.SENT]
    yield _station("Notified", sent, "customers told")


def _station(name: str, number: int | None, more: str) -> str:
    return (
        f"<li>{element('span', name, 'name')}"
        f"{element('span', figure(number), 'figure')}{element('span', more, 'more')}</li>"
    )


def _queue_station(name: str, queue: QueueState | None) -> str:
    if queue is None:
        return _station(name, None, "not known")
    known = [count for count in (queue.ready, queue.unacked) if count is not None]
    consumers = "consumers not known" if queue.consumers is None else amount(queue.consumers, "consumer")
    return _station(name, sum(known) if known else None, f"{figure(queue.unacked)} unacked, {consumers}")


def _oldest(store: StoreState | None) -> str:
    if store is None:
        return "not known"
    if store.outbox_oldest_seconds is None:
        return "nothing waits for a broker"
    return f"the oldest has waited {duration(store.outbox_oldest_seconds)}"


def _decisions(store: StoreState | None) -> str:
    if store is None:
        return "not known"
    created, rejected = store.orders[OrderStatus.CREATED], store.orders[OrderStatus.REJECTED]
    return f"{figure(created)} created, {figure(rejected)} rejected"


def _answer(view: View) -> Iterable[str]:
    if view.question.sku:
        level = view.answer.inventory_level
        said = "has no stock entry" if level is None else f"has {level:,} available"
        yield f"<p>SKU {element('code', view.question.sku)} {said}.</p>"
    if view.question.order_id:
        status = view.answer.notification_status
        said = "none yet" if status is None else status
        yield f"<p>Notification of order {element('code', view.question.order_id)}: {escape(said)}.</p>"
