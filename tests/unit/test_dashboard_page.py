"""The page of the dashboard as the server sends it, which is how it reads without JavaScript."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote

import pytest

from dashboard.overview.pace import Pace
from dashboard.overview.page import overview_page
from dashboard.overview.state import Answer, NodeState, NodeStatus, PipelineState, Question
from dashboard.rendering import Pages, amount, duration
from shared.messages import Order, OrderItem, Trace
from shared.orders.model import OrderStatus
from shared.orders.records import OrderRecord, TimelineStep
from shared.pipeline import CONSUMPTIONS, NOTIFIER
from tests.harness.dashboard import (
    NODES,
    READ_AT,
    SERVICES,
    STORE,
    Dashboard,
    MadeUpStore,
    dashboard,
    whole_brokers,
    with_nodes,
)


@pytest.fixture
async def served() -> AsyncIterator[Dashboard]:
    """A dashboard that has good news."""
    async with dashboard() as running:
        yield running


async def page(served: Dashboard, path: str = "/") -> str:
    """The HTML."""
    return await (await served.get(path)).text()


async def test_the_figures_are_in_the_html(served: Dashboard) -> None:
    """Nothing is left to a script: figures, queues, nodes and stock are all there."""
    html = await page(served)
    for figure in ("1,601", "1,503", "1,600", "368", "orders.queue", "notifier.dead", *NODES, "All is well"):
        assert figure in html
    assert '<noscript><meta http-equiv="refresh" content="1"></noscript>' in html


async def test_what_waits_is_told_in_orders_with_its_age(served: Dashboard) -> None:
    """Along the way of an order, where a queue would count messages of up to 64."""
    served.store.figures = replace(
        STORE, untold=3, untold_oldest_seconds=75.0, oldest_seconds={}, outbox=0, outbox_oldest_seconds=None
    )
    html = await page(served)
    stations = re.findall(
        r'class="name">(.*?)</span><span class="figure">(.*?)</span><span class="more">(.*?)<', html
    )
    assert [station for station in stations if not station[0].endswith("queue")] == [
        ("Outbox", "0", "nothing waits for a broker"),
        ("Undecided", "7", "all of them in trouble"),
        ("Decided", "1,601", "created or rejected"),
        ("Untold", "3", "the oldest has waited 1 min 15 s"),
        ("Notified", "1,600", "customers told"),
        ("Log of steps", "4,803", "the ledger is less than 1 s behind"),
    ]


async def test_what_is_wrong_comes_first(served: Dashboard) -> None:
    """Counted in the title and the heading, and said in words."""
    served.brokers.seen = with_nodes(
        served.brokers.seen, [NodeState(node=NODES[1], status=NodeStatus.NOT_RUNNING, alarms=())]
    )
    html = await page(served)
    assert "<title>1 thing needs attention" in html
    assert f"Broker node {NODES[1]} does not run" in html
    assert "not running</span>" in html


async def test_a_broker_that_does_not_replicate_is_whole_with_one_member(served: Dashboard) -> None:
    """As in embedded mode; where three are needed, one is alarming."""
    queues = {
        name: replace(queue, members=NODES[:1], online=NODES[:1])
        for name, queue in served.brokers.seen.queues.items()
    }
    served.brokers.seen = replace(served.brokers.seen, queues=queues, members_needed=1)
    html = await page(served)
    assert "All is well" in html
    assert 'data-label="Members online">1 of 1</td>' in html
    served.brokers.seen = replace(served.brokers.seen, members_needed=3)
    assert '<td class="number bad" data-label="Members online">1 of 3</td>' in await page(served)


async def test_one_more_consumer_is_on_the_page(served: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the way of an order, by a name that breaks between its parts; with queues and dead letters."""
    more = replace(NOTIFIER, service="audit_trail", queues="audit_trail")
    for module in ("page", "attention", "document"):
        monkeypatch.setattr(f"dashboard.overview.{module}.CONSUMPTIONS", (*CONSUMPTIONS, more))
    known = {name: replace(queue, name=name) for name, queue in served.brokers.seen.queues.items()}
    known[more.queue] = replace(known[NOTIFIER.queue], name=more.queue)
    known[more.dead_queue] = replace(known[NOTIFIER.dead_queue], name=more.dead_queue, ready=2)
    served.brokers.seen = replace(served.brokers.seen, queues=known)
    html = await page(served)
    assert "Dead letters of audit_trail in audit_trail.dead: 2" in html
    names = re.findall(r'class="name">(.*?)</span>', html)
    assert (names[3:5], names[-2:]) == (
        ["Untold", "Notified"],
        ["audit_<wbr>trail.<wbr>queue", "Log of steps"],
    )
    told = await (await served.get("/metrics")).json()
    assert (told["dead_letters"]["notifier.dead"], told["dead_letters"]["audit_trail.dead"]) == (0, 2)


async def test_without_the_store_the_page_shows_the_rest(served: Dashboard) -> None:
    """503, but a page: the brokers are there, and it says what is missing."""
    served.store.away = True
    answer = await served.get("/?sku=cable")
    html = await answer.text()
    assert (answer.status, answer.content_type) == (503, "text/html")
    assert "Redis: Redis did not answer within 1 s" in html
    assert "Not known while the store is away." in html
    assert NODES[0] in html


async def test_a_store_that_answers_and_takes_no_orders_is_not_well(served: Dashboard) -> None:
    """As after ``REPLICAOF``: reading proves nothing; the services' reason stands beside the store."""
    reason = "READONLY You can't write against a read only replica."
    served.services.seen = [replace(SERVICES[0], ready=0, faults={"redis": reason}), *SERVICES[1:]]
    html = await page(served)
    assert "1 thing needs attention" in html
    assert "answers</span>" not in html.partition(">redis</th>")[2].partition("</tr>")[0]
    assert "of no use</span> READONLY" in html
    told = await (await served.get("/metrics")).json()
    assert (told["store"]["state"], told["store"]["reason"]) == ("unusable", reason)


async def test_old_figures_of_queues_are_marked(served: Dashboard) -> None:
    """They stay on the page, set apart, and are not taken for the present."""
    served.brokers.seen = replace(served.brokers.seen, age_seconds=95.0)
    html = await page(served)
    assert "The figures of the queues are 95 s old" in html
    assert '<section class="old"' in html


async def test_a_sku_and_an_order_can_be_looked_up(served: Dashboard) -> None:
    """By a form that needs no script either."""
    asked = Question(sku="cable", order_id="order123")
    record = OrderRecord(
        order=Order(id="order123", items=(OrderItem(sku="cable", qty=2),)),
        status=OrderStatus.REJECTED,
        accepted_at=READ_AT,
        decided_at=READ_AT,
        reason="insufficient_stock",
        sku_at_fault="cable",
        sequence=7,
        next_attempt_at=None,
        trace=Trace(correlation_id="c"),
        timeline=[
            TimelineStep(step="accepted", at=READ_AT, reason=None, attempts=None),
            TimelineStep(step="rejected", at=READ_AT, reason="insufficient_stock", attempts=2),
        ],
    )
    told = {"status": "sent", "channel": "mail", "unconfirmed": "1"}
    served.store.answers[asked] = Answer(inventory_level=368, order=record, notification=told)
    html = await page(served, "/?sku=cable&order_id=order123")
    assert "<code>cable</code> has 368 available" in html
    assert (
        '<code>order123</code> <span class="state good">rejected</span> insufficient_stock: <code>cable'
        in html
    )
    assert "08:30:05</time> rejected: insufficient_stock (2 attempts)" in html
    assert "Notification: sent, unconfirmed by mail" in html


async def test_what_is_not_known_is_said_to_be_unknown(served: Dashboard) -> None:
    """An order of no record is not one that waits for its notification."""
    html = await page(served, "/?sku=nope&order_id=nope")
    assert "<code>nope</code> has no stock entry" in html
    assert "Order <code>nope</code> is not in the store. If it was once:" in html
    assert "Notification:" not in html


async def test_what_comes_from_outside_is_text(served: Dashboard) -> None:
    """Questions, SKUs and reasons of faults cannot become markup."""
    hostile = '"><script>alert(1)</script>\u202e\x1b[2J'
    served.store.figures = replace(STORE, inventory={hostile: -1})
    html = await page(served, f"/?sku={quote(hostile)}&order_id={quote(hostile)}")
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert r"\u202e\x1b[2J" in html
    assert 'value=""' not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_notice_stands_above_everything_else() -> None:
    """As text; a page without one has no place for it."""
    state = PipelineState(store=STORE, store_fault=None, broker=whole_brokers())
    view = state, Pace(MadeUpStore()), Question(), Answer()
    html = overview_page(Pages(1, "for trying only, <not> for selling"), *view)
    assert html.index("for trying only, &lt;not&gt; for selling") < html.index("<main>")
    assert "notice" not in overview_page(Pages(1), *view)


async def test_a_long_stock_list_is_cut(served: Dashboard) -> None:
    """The page stays readable; what is left out is counted."""
    served.store.figures = replace(
        STORE, inventory={f"sku-{number:04}": 1 for number in range(1000)}, skus=1_250
    )
    html = await page(served)
    assert "The first 200 of 1,250 SKUs." in html
    assert "sku-0200" not in html


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "less than 1 s"),
        (1, "1 s"),
        (200, "3 min 20 s"),
        (3_600, "1 h"),
        (90_061, "1 d 1 h"),
    ],
)
def test_spans_of_time_are_told_in_their_largest_units(seconds: float, words: str) -> None:
    """Two units at most."""
    assert duration(seconds) == words


def test_one_is_not_many() -> None:
    """Nouns follow their count."""
    assert [amount(count, "consumer") for count in (0, 1, 2)] == ["0 consumers", "1 consumer", "2 consumers"]
