"""The dashboard's description says what its routes do."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.harness.afterlife import Afterlife, afterlife
from tests.harness.dashboard import dashboard
from tests.harness.dead_dashboard import a_feed, an_app, serving
from tests.harness.description import Described, operations, references, validator
from tests.harness.examples import an_order


@pytest.fixture
async def world() -> AsyncIterator[Afterlife]:
    """Two dead orders."""
    async with afterlife() as made:
        await made.stock("cable", "none")
        for number in (1, 2):
            await made.accept(an_order(f"order{number}", email=None, cable=1))
        await made.work()
        yield made


@pytest.fixture
async def session(world: Afterlife) -> AsyncIterator[ClientSession]:
    """A session with a dashboard over them."""
    async with serving(world) as made:
        yield made


@pytest.fixture
async def described(session: ClientSession) -> Described:
    """The description, as it is served."""
    async with session.get("/openapi.json") as answer:
        assert answer.status == 200
        found: Described = await answer.json()
        return found


async def test_it_is_valid_openapi(described: Described) -> None:
    """Of version 3.1, with every schema in use."""
    OpenAPIV31SpecValidator(described).validate()
    used = set(references(described))
    assert used >= {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}


async def test_it_has_every_route_and_no_other(world: Afterlife, described: Described) -> None:
    """HEAD comes with GET."""
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in an_app(world, a_feed(world)).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert routes == {(path, method) for path, method, _ in operations(described)}


async def check(
    session: ClientSession,
    described: Described,
    asked: tuple[str, str, str, Any],
    status: int,
    **headers: str,
) -> None:
    """Asks, and holds status, media type, headers and body against the description."""
    method, template, path, body = asked
    async with session.request(method, path, json=body, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        promised = described["paths"][template][method.lower()]["responses"][str(status)]
        assert set(promised["headers"]) - {"Retry-After"} <= set(answer.headers)
        schema = promised["content"][answer.content_type]["schema"]
        shown = await (answer.json(content_type=None) if "json" in answer.content_type else answer.text())
        validator(described, schema).validate(shown)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (("GET", "/livez", "/livez", None), 200),
        (("GET", "/readyz", "/readyz?verbose", None), 200),
        (("GET", "/healthz", "/healthz", None), 200),
        (("GET", "/openapi.json", "/openapi.json", None), 200),
        (("GET", "/docs", "/docs", None), 200),
        *(
            (("GET", path, path, None), 200)
            for path in ("/static/page.css", "/static/page.js", "/static/icon.svg")
        ),
        (("GET", "/metrics", "/metrics", None), 503),
        (("GET", "/dead", "/dead", None), 200),
        (("GET", "/dead", "/dead?limit=0", None), 422),
        (("GET", "/dead/{id}", "/dead/order1", None), 200),
        (("GET", "/dead/{id}", "/dead/order9", None), 404),
        (("POST", "/dead/redrive", "/dead/redrive", {"all": True, "dry_run": True}), 200),
        (("POST", "/dead/redrive", "/dead/redrive", {"ids": ["order1"], "all": True}), 422),
        (("POST", "/dead/drop", "/dead/drop", {"ids": ["order1", "order9"]}), 200),
        (("POST", "/dead/drop", "/dead/drop", {}), 422),
    ],
    ids=lambda case: " ".join(map(str, case)) if isinstance(case, tuple) else str(case),
)
async def test_real_answers_fit_it(
    session: ClientSession, described: Described, asked: tuple[str, str, str, Any], status: int
) -> None:
    """Each status that is easily had."""
    await check(session, described, asked, status)


async def test_a_foreign_origin_and_a_missing_token_fit_it(world: Afterlife, described: Described) -> None:
    """403 and 401."""
    asked = ("GET", "/dead", "/dead", None)
    async with serving(world) as session:
        await check(session, described, asked, 403, Origin="http://evil.example")
    async with serving(world, token="sixteen characters") as session:
        await check(session, described, asked, 401)


@pytest.mark.parametrize(
    ("bound_to", "token", "needed"),
    [
        ("127.0.0.1", None, False),
        ("127.0.0.1", "sixteen characters", True),
        ("192.0.2.1", None, True),
    ],
)
async def test_it_says_where_a_token_is_needed(
    world: Afterlife, bound_to: str, token: str | None, needed: bool
) -> None:
    """For what operators alone may do, unless they who reach the port may; the figures are for everyone."""
    async with serving(world, token=token, bound_to=bound_to) as session:
        async with session.get("/openapi.json") as answer:
            described: Described = await answer.json()
        for path, method, operation in operations(described):
            asks = {} not in operation["security"]
            assert {"bearer": []} in operation["security"]
            assert asks == (needed and "401" in operation["responses"]), (method, path)
        async with session.get("/dead") as answer:
            assert (answer.status == 200) == (not needed)


async def test_the_page_that_draws_it_runs_its_own_script_alone(session: ClientSession) -> None:
    """By a digest, in place of the policy of the other pages; it names nothing outside of the dashboard."""
    async with session.get("/docs") as answer:
        policy, page = answer.headers["Content-Security-Policy"], await answer.text()
    assert "default-src 'none'; connect-src 'self'" in policy
    assert "script-src 'sha256-" in policy
    assert "http:" not in page


async def test_the_figures_fit_it() -> None:
    """In JSON and in Prometheus' format."""
    async with dashboard() as served:
        described = await (await served.get("/openapi.json")).json()
        for accept in ("application/json", "text/plain"):
            answer = await served.get("/metrics?sku=cable", Accept=accept)
            content = described["paths"]["/metrics"]["get"]["responses"]["200"]["content"]
            shown = await (answer.json() if accept == "application/json" else answer.text())
            validator(described, content[answer.content_type]["schema"]).validate(shown)


@pytest.mark.parametrize(
    "body",
    [
        {"all": True},
        {"ids": ["a"]},
        {"ids": ["a"], "all": False, "limit": 3, "older_than": "90s"},
        {},
        {"all": False},
        {"ids": []},
        {"ids": ["a"], "all": True},
        {"all": True, "dry_run": True, "queue": "orders.dead"},
        {"all": True, "queue": "orders.queue"},
        {"all": True, "older_than": "soon"},
        {"all": True, "sku": ""},
        {"all": True, "limit": 0},
        {"all": True, "everything": True},
        [],
    ],
    ids=str,
)
async def test_what_it_allows_is_what_is_taken(
    session: ClientSession, described: Described, body: Any
) -> None:
    """As a dry run changes nothing, it is asked for where the body leaves it open."""
    schema = described["components"]["schemas"]["ActionRequest"]
    sent = body | {"dry_run": True} if isinstance(body, dict) else body
    async with session.post("/dead/drop", json=sent) as answer:
        taken = answer.status == 200
    assert validator(described, schema).is_valid(sent) == taken
