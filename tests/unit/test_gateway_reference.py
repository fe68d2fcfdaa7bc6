"""The API's description says what the routes do, and the page that draws it needs nothing from elsewhere."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api_gateway import problems
from api_gateway.routes import INFO
from api_gateway.schemas import LONGEST_AHEAD_SECONDS
from api_gateway.validation import read_order
from shared.errors import StoreUnavailable
from shared.http.openapi import described as described_with_itself, document
from shared.http.problems import Problem, ProblemType
from shared.http.routes import application
from tests.harness.description import operations, references, validator
from tests.harness.http_gateway import Gateway, gateway, memory_table
from tests.harness.tokens import a_guard

ORDER = '{"id": "order123", "sku": "cable", "qty": 2}'


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """The description."""
    guard = a_guard()
    return document(INFO, described_with_itself(INFO, memory_table(), guard), guard)


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with one SKU."""
    async with gateway() as running:
        running.stock.stock = {"cable": 5}
        yield running


def test_it_is_valid_openapi(described: dict[str, Any]) -> None:
    """Of version 3.1."""
    assert described["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(described).validate()


def test_it_has_every_route_and_no_other(described: dict[str, Any]) -> None:
    """A route added without a word fails here, and so does a word without a route. HEAD comes with GET."""
    app = application(described_with_itself(INFO, memory_table(), a_guard()), a_guard())
    routes = {
        (route.resource.canonical, route.method.lower())
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    assert routes == {(path, method) for path, method, _ in operations(described)}


def test_every_schema_is_used(described: dict[str, Any]) -> None:
    """And every reference leads somewhere, which the validator has seen to."""
    used = set(references(described))
    assert used >= {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}


def test_every_kind_of_problem_is_described(described: dict[str, Any]) -> None:
    """Under its status, by name."""
    kinds = {kind for kind in vars(problems).values() if isinstance(kind, ProblemType)}
    shown = {
        (int(status), name)
        for _, _, operation in operations(described)
        for status, answer in operation["responses"].items()
        for name in answer["content"].get("application/problem+json", {}).get("examples", {})
    }
    assert {(kind.status, kind.name) for kind in kinds} <= shown


def test_every_answer_has_the_correlation_id(described: dict[str, Any]) -> None:
    """It is promised for all of them."""
    for path, method, operation in operations(described):
        for status, answer in operation["responses"].items():
            assert "X-Correlation-ID" in answer["headers"], (path, method, status)


def test_examples_of_orders_are_taken(described: dict[str, Any]) -> None:
    """By the validation that takes real ones."""
    body = described["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        assert read_order(example["value"], id_required=True).items


def test_examples_of_problems_fit_their_schemas(described: dict[str, Any]) -> None:
    """Every one of them."""
    for _, _, operation in operations(described):
        for answer in operation["responses"].values():
            content = answer["content"].get("application/problem+json", {})
            for example in content.get("examples", {}).values():
                validator(described, content["schema"]).validate(example["value"])


BODIES: list[Any] = [
    {"id": "a", "sku": "b", "qty": 1},
    {"id": "a", "sku": "b", "qty": 10_000, "email": None},
    {"id": "a", "items": [{"sku": "b", "qty": 1}], "email": "a@example.com"},
    {"id": "a", "sku": "b", "qty": 0},
    {"id": "a", "sku": "b", "qty": 10_001},
    {"id": "a", "sku": "b", "qty": True},
    {"id": "a", "sku": "b", "qty": "1"},
    {"id": "a", "sku": "b", "qty": 1, "color": "red"},
    {"id": "a", "sku": "b", "qty": 1, "items": [{"sku": "b", "qty": 1}]},
    {"id": "a b", "sku": "b", "qty": 1},
    {"id": "a", "sku": "", "qty": 1},
    {"id": "a", "sku": "b", "qty": 1, "email": "nobody"},
    {"id": "a", "items": []},
    {"id": "a", "items": [{"sku": f"s{n}", "qty": 1} for n in range(101)]},
    {"id": "a"},
    [],
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: str(body)[:60])
def test_what_the_description_allows_is_what_is_taken(described: dict[str, Any], body: Any) -> None:
    """The models that validate are the ones that are described."""
    schema = described["paths"]["/orders"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    try:
        read_order(body, id_required=True)
        taken = True
    except Problem:
        taken = False
    assert validator(described, schema).is_valid(body) == taken


async def test_real_answers_fit_the_description(served: Gateway, described: dict[str, Any]) -> None:
    """Each status that is easily had, with its media type, headers and schema."""
    requests = [
        ("POST", "/orders", "/orders", ORDER, 202),
        ("POST", "/orders", "/orders", ORDER, 409),
        ("POST", "/orders", "/orders", "{}", 422),
        ("POST", "/orders", "/orders", "", 400),
        ("GET", "/orders", "/orders", "", 200),
        ("GET", "/orders", "/orders?limit=0", "", 400),
        ("GET", "/orders/{id}", "/orders/order123", "", 200),
        ("GET", "/orders/{id}", "/orders/other", "", 404),
        ("GET", "/inventory", "/inventory", "", 200),
        ("GET", "/inventory/{sku}", "/inventory/cable", "", 200),
        ("GET", "/inventory/{sku}", "/inventory/other", "", 404),
        ("PUT", "/inventory/{sku}", "/inventory/cable", '{"available": 5}', 200),
        ("PUT", "/inventory/{sku}", "/inventory/cable", '{"available": -5}', 422),
        ("PATCH", "/inventory/{sku}", "/inventory/cable", '{"delta": -5}', 200),
        ("PATCH", "/inventory/{sku}", "/inventory/cable", '{"delta": -5}', 409),
        ("GET", "/openapi.json", "/openapi.json", "", 200),
    ]
    for method, template, path, body, status in requests:
        answer = await served.send(method, path, body)
        assert answer.status == status, (method, path)
        promised = described["paths"][template][method.lower()]["responses"][str(status)]
        content = promised["content"][answer.content_type]
        validator(described, content["schema"]).validate(await answer.json(content_type=None))


def test_a_move_is_described_by_its_own_key(described: dict[str, Any]) -> None:
    """It has no id that could be left out."""
    for path, method, has_id in (("/orders", "post", True), ("/orders/{id}/status", "patch", False)):
        parameters = described["paths"][path][method]["parameters"]
        key = next(each for each in parameters if each.get("name") == "Idempotency-Key")
        assert ("`id` may be left out" in key["description"]) is has_id


def test_how_far_ahead_an_order_may_begin_is_described(described: dict[str, Any]) -> None:
    """As it is checked."""
    body = described["components"]["schemas"]["OrderBody"]["properties"]["not_before"]
    assert f"at most {LONGEST_AHEAD_SECONDS // 86_400} days ahead" in body["description"]


async def test_an_outage_fits_the_description(served: Gateway, described: dict[str, Any]) -> None:
    """With Retry-After."""
    served.intake.fault = StoreUnavailable("away")
    answer = await served.post(ORDER)
    promised = described["paths"]["/orders"]["post"]["responses"]["503"]
    assert set(promised["headers"]) <= set(answer.headers)
    schema = promised["content"]["application/problem+json"]["schema"]
    validator(described, schema).validate(await answer.json(content_type=None))


@pytest.mark.parametrize(
    ("path", "asks"), [("/docs", 'fetch("/openapi.json")'), ("/shop", 'ask("POST", "/orders"')]
)
async def test_a_page_works_offline(served: Gateway, path: str, asks: str) -> None:
    """It names nothing outside of the gateway, and its policy lets nothing else in."""
    answer = await served.send("GET", path)
    page = await answer.text()
    assert answer.content_type == "text/html"
    assert len(page) <= 60_000
    assert not re.search(r"https?://|//[a-z]+\.|<link|src=", page)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert asks in page


async def test_the_description_is_served_as_it_is(served: Gateway, described: dict[str, Any]) -> None:
    """Word for word."""
    assert await (await served.send("GET", "/openapi.json")).json() == described
