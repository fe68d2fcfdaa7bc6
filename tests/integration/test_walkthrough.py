"""A shop from its front door: register, sign in, a product, its price, an order with it, and the letter."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from orderctl.native import processes
from tests.harness.embedded import operator_of_embedded
from tests.harness.terminal import Operator

pytestmark = pytest.mark.timeout(240)

FIRST_PORT = 27_000
SKU = "walked-through"
PASSWORD = "a long walk at noon"
PRODUCT = {
    "sku": SKU,
    "name": "Phone case",
    "category": "Electronics",
    "unit_amount": 1999,
    "currency": "EUR",
}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A whole system in one process."""
    with operator_of_embedded(tmp_path_factory.mktemp("walk") / "data", FIRST_PORT) as operator:
        operator.types("up", "--mode", "embedded")
        yield operator


class Visitor:
    """Asks the gateway, under a token if there is one."""

    def __init__(self, operator: Operator) -> None:
        self._url = f"{operator.status()['services']['api_gateway']['url']}/api/v1"
        self._token = ""

    def signs_in(self, username: str, password: str) -> None:
        """As an OAuth client does it."""
        form = f"username={username}&password={password.replace(' ', '+')}".encode()
        status, _, token = self._sent("POST", "/tokens", form, "application/x-www-form-urlencoded")
        assert (status, token["token_type"]) == (200, "bearer")
        self._token = token["access_token"]

    def asks(self, method: str, path: str, body: Any = None) -> tuple[int, str | None, Any]:
        """Status, what the cache did, and the answer."""
        data = None if body is None else json.dumps(body).encode()
        return self._sent(method, path, data, "application/json")

    def _sent(self, method: str, path: str, data: bytes | None, kind: str) -> tuple[int, str | None, Any]:
        """Asks again where it is told to, as clients do."""
        answers: list[tuple[int, str | None, Any]] = []

        def is_answered() -> bool:
            answers.append(self._once(method, path, data, kind))
            return answers[-1][0] != 503

        processes.wait_until(is_answered, 10.0)
        return answers[-1]

    def _once(self, method: str, path: str, data: bytes | None, kind: str) -> tuple[int, str | None, Any]:
        headers = {"Content-Type": kind} if data else {}
        headers |= {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            with urlopen(Request(self._url + path, data, headers, method=method), timeout=30) as answer:  # noqa: S310 - http, to ourselves
                return answer.status, answer.headers["X-Cache"], json.loads(answer.read() or b"null")
        except HTTPError as error:
            with error:
                return error.code, None, json.loads(error.read())


def test_the_walkthrough_of_the_readme(operator: Operator) -> None:
    """What the customer was told at the order is what the letter says, whatever the price is by then."""
    ann, otto = Visitor(operator), Visitor(operator)
    user = {"username": "ann", "email": "ann@example.com", "password": PASSWORD}
    assert ann.asks("POST", "/users", user)[0] == 201
    ann.signs_in("ann", PASSWORD)
    assert ann.asks("GET", "/users/me")[2]["email"] == "ann@example.com"
    assert ann.asks("POST", "/products", PRODUCT)[0] == 403
    made = operator.types("user", "add", "otto", "--role", "operator")
    otto.signs_in("otto", re.findall(r"password: (\S+)", made)[0])
    assert otto.asks("POST", "/products", PRODUCT)[0] == 201
    assert otto.asks("PATCH", f"/products/{SKU}/stock", {"stock": 45})[0] == 200

    def price() -> tuple[str | None, int]:
        _, cache, product = ann.asks("GET", f"/products/{SKU}")
        return cache, product["unit_amount"]

    assert processes.wait_until(lambda: price() == ("hit", 1999), 10.0)
    assert otto.asks("PATCH", f"/products/{SKU}", {"unit_amount": 1799})[0] == 200
    assert price() in {("miss", 1799), ("bypass", 1799)}
    assert processes.wait_until(lambda: price() == ("hit", 1799), 10.0)
    electronics = ann.asks("GET", "/products?category=Electronics")[2]["products"]
    assert [(each["sku"], each["stock"]) for each in electronics] == [(SKU, 45)]

    order = {"id": "walk1", "items": [{"sku": SKU, "qty": 2}], "amount_total": 3598}
    answers: list[Any] = []

    def is_accepted() -> bool:
        answers.append(ann.asks("POST", "/orders", order))
        return bool(answers[-1][0] == 202)

    assert processes.wait_until(is_accepted, 10.0), answers  # the price is on its way for a second at most
    receipt = answers[-1][2]
    assert (receipt["amount_total"], receipt["currency"]) == (3598, "EUR")
    assert processes.wait_until(lambda: ann.asks("GET", "/orders/walk1")[2]["status"] == "created", 30.0)
    assert ann.asks("GET", "/orders/walk1")[2]["amount_total"] == 3598
    assert processes.wait_until(lambda: "35.98 EUR" in operator.types("logs", "notifier", "-n", "50"), 30.0)
    assert ann.asks("GET", f"/products/{SKU}")[2]["stock"] == 43


def test_a_sample_is_made_once(operator: Operator) -> None:
    """Asked again, there is nothing new; the operator sees the customers' orders too."""
    assert "4 users, 10 products and 8 orders are new" in operator.types("sample")
    assert operator.types("sample").startswith("0 users, 0 products and 0 orders are new")
    assert "sample-8" in operator.types("order", "list")
    standing = ("delivered", "shipped", "processing", "created", "cancelled", "scheduled")
    for number, status in enumerate(standing, start=1):

        def is_there(of: str = f"sample-{number}", status: str = status) -> bool:
            return status in operator.types("order", "show", of).splitlines()[0]

        assert processes.wait_until(is_there, 30.0), status
    assert operator.types("order", "show", "sample-1").count("EUR") > 0
