"""Who may call which route: every route, with every kind of token, in both modes."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

import pytest
from aiohttp import ClientSession, web
from joserfc.jwk import OKPKey
from prometheus_client import CollectorRegistry

from accounts.model import OPERATOR_ID
from accounts.operator_routes import OperatorRoutes
from api_gateway.routes import INFO
from api_gateway.session_routes import REFRESH_COOKIE
from shared.customers.routes import customer_table
from shared.history.routes import history_table, order_reads
from shared.http import keys as keys_of_accounts
from shared.http.auth import Access, AuthMode, Caller, Role, actor_of, caller_of
from shared.http.keys import JWKS_PATH
from shared.http.metrics import HttpMetrics
from shared.http.openapi import described, document
from shared.http.routes import Route, application
from shared.http.server import serve
from shared.products.routes import product_table
from shared.sql.database import open_database
from shared.sql.migrations import migrations_of
from shared.webhooks.routes import webhook_table
from tests.harness.catalogue import Backstage, catalogue
from tests.harness.customers import accounts_at
from tests.harness.endpoints import an_endpoint
from tests.harness.http_gateway import memory_table, problem_of
from tests.harness.ledger import served_ledger
from tests.harness.tokens import ADMIN, ALICE, BOB, KEY, OPERATOR, a_guard, bearer, forged
from tests.harness.webhooks import served_webhooks, webhook_world

IN: Final = "in"
CALLERS: Final = {"customer": ALICE, "other customer": BOB, "operator": OPERATOR, "admin": ADMIN}
LETS_IN: Final = {
    Access.PUBLIC: CALLERS.keys(),
    Access.CUSTOMER: CALLERS.keys(),
    Access.SIGNED_IN: CALLERS.keys(),
    Access.OPERATOR: {"operator", "admin"},
    Access.ADMIN: {"admin"},
}
WITHOUT_A_TOKEN: Final = {
    AuthMode.OPTIONAL: {Access.PUBLIC, Access.CUSTOMER, Access.OPERATOR},
    AuthMode.REQUIRED: {Access.PUBLIC},
}
OPEN_TO_ALL: Final = {
    *("docs", "shop", "asyncapi", "openapi", "getKeys"),
    *("listProducts", "searchProducts", "getProduct"),
    *("registerUser", "signIn", "renewTokens", "beginSession", "renewSession", "endSession"),
}
FOR_OPERATORS: Final = {
    *("setInventory", "changeInventory", "removeInventory"),
    *("createProduct", "changeProduct", "deleteProduct", "changeProductStock"),
    *("getStatistics", "getOrderStatistics", "getProductStatistics", "getUserStatistics"),
}
FOR_ADMINS: Final = {"listUsers", "getUser", "changeUser", "removeUser"}
FOR_ITSELF: Final = {
    "getOwnUser",
    "changeOwnUser",
    "removeOwnUser",
    "signOut",
    "getPreferences",
    "setPreferences",
}


async def unasked(_: web.Request) -> web.Response:
    """The handler of a route that is looked at alone."""
    raise NotImplementedError


async def publish(_: web.Request) -> web.Response:
    """The keys, as accounts has them."""
    return web.json_response({"keys": [KEY.as_dict(private=False)]})


def a_route(access: Access, **further: Any) -> Route:
    """A route that says who called it."""

    async def who(request: web.Request) -> web.Response:
        caller = caller_of(request)
        return web.json_response({"id": caller.id, "role": caller.role, "by": actor_of(request)})

    declared = {"path": f"/made-up/{access}", "handler": who, **further}
    return Route(
        access=access,
        name=access,
        tag="reference",
        summary="Made up",
        meaning="Who called.",
        answer={"type": "object"},
        **declared,
    )


def all_routes() -> Sequence[Route]:
    """Those of the gateway, and one for each kind of access."""
    return described(INFO, (*memory_table(), *map(a_route, Access)), a_guard())


@asynccontextmanager
async def door(mode: AuthMode) -> AsyncIterator[ClientSession]:
    """A client of a port that serves them all."""
    guard = a_guard(mode)
    app = application(described(INFO, (*memory_table(), *map(a_route, Access)), guard), guard)
    async with (
        serve(app, an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        yield session


async def ask(session: ClientSession, route: Route, headers: dict[str, str]) -> int | str:
    """401 or 403, else that the door let it in, whatever the handler made of it."""
    path = re.sub(r"{\w+}", "none", route.path)
    page = {"Origin": str(session._base_url).rstrip("/"), "Cookie": f"{REFRESH_COOKIE}=x"}
    async with session.request(route.method, path, headers=page | headers) as answer:
        if answer.status in {401, 403}:
            await problem_of(answer)
            assert ("WWW-Authenticate" in answer.headers) == (answer.status == 401)
            return answer.status
        assert answer.status < 500
        return IN


async def check_matrix(
    session: ClientSession,
    routes: Sequence[Route],
    mode: AuthMode,
    *,
    key: OKPKey = KEY,
    callers: Mapping[str, Caller] = CALLERS,
) -> None:
    """Each cell: no token, each kind of bad one, and each role; of every route that is served."""
    async with session.get("/openapi.json") as answer:
        described_there = (await answer.json())["paths"]
    served = {(path, method.upper()) for path, methods in described_there.items() for method in methods}
    assert {(route.path, route.method) for route in routes} == served
    wrong = []
    for route in routes:
        cells: dict[str, tuple[dict[str, str], int | str]] = {
            name: ({"Authorization": f"Bearer {bad}"}, 401) for name, bad in forged(key).items()
        }
        for name, caller in callers.items():
            cells[name] = bearer(caller, key=key), IN if name in LETS_IN[route.access] else 403
        cells["none"] = {}, IN if route.access in WITHOUT_A_TOKEN[mode] else 401
        for name, (headers, right) in cells.items():
            if (found := await ask(session, route, headers)) != right:
                wrong.append((route.method, route.path, name, found, right))
    assert wrong == []


@pytest.mark.parametrize("mode", AuthMode)
async def test_each_route_of_the_gateway_lets_in_whom_it_says(mode: AuthMode) -> None:
    """And each kind of access, whether a route has it or not."""
    async with door(mode) as session:
        await check_matrix(session, all_routes(), mode)


async def test_each_route_of_accounts_lets_in_whom_it_says(tmp_path: Path) -> None:
    """On its own port, where the operator's routes are besides, a token is always needed."""
    made_up = cast(Any, None)
    operators = OperatorRoutes(None, made_up, made_up, bodies=made_up, token_seconds=0.0)
    table = (*customer_table(lambda _: unasked), *operators.table())
    async with accounts_at(f"sqlite:///{tmp_path}/accounts.db") as accounts:
        await check_matrix(
            accounts.session,
            described(INFO, table),
            AuthMode.REQUIRED,
            key=accounts.keys.signing,
            callers={**CALLERS, "admin": Caller(id=OPERATOR_ID, role=Role.ADMIN)},
        )


@pytest.mark.parametrize("mode", AuthMode)
async def test_each_route_of_the_catalogue_lets_in_whom_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: AuthMode
) -> None:
    """On its own port, by the keys that accounts publishes."""
    monkeypatch.setattr(keys_of_accounts, "LEAST_PAUSE_SECONDS", 0.0)
    keys = a_route(Access.PUBLIC, path=JWKS_PATH, handler=publish)
    backstage = Backstage(f"sqlite:///{tmp_path}/catalogue.db")
    async with (
        serve(application([keys]), an_endpoint(), HttpMetrics(CollectorRegistry())) as accounts,
        catalogue(backstage, auth=mode, accounts_url=f"http://127.0.0.1:{accounts}") as served,
    ):
        await check_matrix(served.session, described(INFO, product_table(lambda _: unasked)), mode)


@pytest.mark.parametrize("mode", AuthMode)
async def test_each_route_of_the_ledger_lets_in_whom_it_says(tmp_path: Path, mode: AuthMode) -> None:
    """On its own port too."""
    url, folder = f"sqlite:///{tmp_path}/ledger.db", migrations_of("ledger")
    table = (*order_reads(lambda _: unasked), *history_table(lambda _: unasked))
    async with open_database(url, folder, timeout_seconds=30.0) as database:
        await database.look()
        async with served_ledger(database, a_guard(mode)) as session:
            await check_matrix(session, described(INFO, table), mode)


@pytest.mark.parametrize("mode", AuthMode)
async def test_each_route_of_webhooks_lets_in_whom_it_says(tmp_path: Path, mode: AuthMode) -> None:
    """And so does that of webhooks."""
    async with (
        webhook_world(f"sqlite:///{tmp_path}/webhooks.db") as world,
        served_webhooks(world, a_guard(mode)) as session,
    ):
        await check_matrix(session, described(INFO, webhook_table(lambda _: unasked)), mode)


def test_what_is_open_and_to_whom_is_written_down() -> None:
    """A route that is added as one of them fails here until it is meant."""
    by_access = {
        access: {route.name for route in all_routes() if route.access is access} - {access}
        for access in Access
    }
    assert by_access[Access.PUBLIC] == OPEN_TO_ALL
    assert by_access[Access.OPERATOR] == FOR_OPERATORS
    assert by_access[Access.ADMIN] == FOR_ADMINS
    assert by_access[Access.SIGNED_IN] == FOR_ITSELF


def test_a_route_that_does_not_say_who_may_call_it_is_no_route() -> None:
    """It cannot be made, in whatever table."""
    with pytest.raises(TypeError, match="access"):
        Route(
            path="/",
            handler=a_route(Access.PUBLIC).handler,
            name="forgotten",
            tag="reference",
            summary="",
            meaning="",
            answer=None,
        )  # type: ignore[call-arg]  # which is the point


@pytest.mark.parametrize("mode", AuthMode)
def test_the_description_says_where_a_token_is_needed(mode: AuthMode) -> None:
    """And that any route may answer 401, those for some roles, or that change something, 403."""
    shown = document(INFO, all_routes(), a_guard(mode))
    for route in all_routes():
        operation = shown["paths"][route.path][route.method.lower()]
        is_open = {} in operation["security"]
        assert is_open == (route.access in WITHOUT_A_TOKEN[mode])
        assert {"bearer": []} in operation["security"]
        assert "WWW-Authenticate" in operation["responses"]["401"]["headers"]
        may_be_forbidden = route.access in {Access.OPERATOR, Access.ADMIN} or route.method != "GET"
        assert ("403" in operation["responses"]) == may_be_forbidden


async def test_handlers_learn_who_calls() -> None:
    """An account by its id; without a token an operator by the address, where that is enough."""
    async with door(AuthMode.OPTIONAL) as session:
        async with session.get("/made-up/customer", headers=bearer(ALICE)) as answer:
            assert await answer.json() == {"id": "alice", "role": "customer", "by": "alice"}
        async with session.get("/made-up/customer") as answer:
            assert await answer.json() == {"id": None, "role": "operator", "by": "127.0.0.1"}
    async with door(AuthMode.REQUIRED) as session, session.get("/made-up/public") as answer:
        assert await answer.json() == {"id": None, "role": None, "by": "127.0.0.1"}


async def test_other_schemes_are_refused() -> None:
    """A password, or a token without its scheme, is no bearer token, and is told so."""
    async with door(AuthMode.OPTIONAL) as session:
        for authorization in ("Basic YTpi", "Bearer", "", "Bearer  "):
            async with session.get("/orders", headers={"Authorization": authorization}) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="order-pipeline"')
                await problem_of(answer)


async def test_the_scheme_may_be_written_in_any_case() -> None:
    """As RFC 9110 has it."""
    async with door(AuthMode.REQUIRED) as session:
        headers = {"Authorization": bearer(ALICE)["Authorization"].replace("Bearer", "bEARER")}
        async with session.get("/made-up/signed_in", headers=headers) as answer:
            assert answer.status == 200
