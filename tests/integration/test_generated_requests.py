"""Requests drawn from the OpenAPI documents, sound ones and broken ones, at every operation, by each role.

Schemathesis judges each answer: no 5xx, no status, body, header or media type but those that are told, and
nothing broken that is taken for sound. ``GENERATED_EXAMPLES=300`` draws so many for each operation and role.
"""

import contextlib
import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

import orjson
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import CheckFunction, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from orderctl.accounts_client import AccountsClient
from orderctl.http import bearer, request
from orderctl.operator_secret import operator_secret
from shared.http.auth import Role
from tests.harness.embedded import operator_of_embedded

EXAMPLES: Final = int(os.environ.get("GENERATED_EXAMPLES", "5"))
pytestmark = pytest.mark.timeout(600 + 10 * EXAMPLES)
FIRST_PORT: Final = 28_000
PASSWORD: Final = "a long walk at noon"
MOST_REPETITIONS: Final = 20
DAY: Final = "86400"
ENDLESS: Final = {
    "followOrder": (GenerationMode.POSITIVE,),
    "followEverything": (GenerationMode.POSITIVE, GenerationMode.NEGATIVE),
}
"""Their answers to sound requests end with the order, or never; what is left out of a request is no fault."""
LEAVING: Final = "removeOwnUser"
"""What takes an account of its own: the others stay as they are."""
KNOWN: Final = "known"
"""The id of an order, and the SKU of a product."""
PRODUCT: Final = {"sku": KNOWN, "name": "Cable", "unit_amount": 1999, "currency": "EUR"}
ORDER: Final = {"id": KNOWN, "sku": KNOWN, "qty": 1}
THINGS: Final = (
    ("POST", "/products", orjson.dumps(PRODUCT)),
    ("PATCH", f"/products/{KNOWN}/stock", orjson.dumps({"stock": 45})),
    ("POST", "/orders", orjson.dumps(ORDER)),
)
AS_JSON: Final = {"Content-Type": "application/json"}
USUAL_HEADERS: Final = {
    *("connection", "content-encoding", "content-length", "content-type", "date", "server", "vary"),
    *("cache-control", "content-security-policy", "referrer-policy", "x-content-type-options"),
}
BEYOND_A_SCHEMA: list[CheckFunction] = [positive_data_acceptance]
"""What a schema cannot tell may be refused: a cursor that no list gave out, an id missing without a key."""


@dataclass(frozen=True, slots=True)
class Served:
    """A whole system: the addresses of its services, and the headers under which each role asks."""

    urls: Mapping[str, str]
    roles: Mapping[str, Mapping[str, str]]
    leaving: Mapping[str, str]
    leaving_id: str
    webhook_id: str

    def callers(self, service: str, operation: str) -> Sequence[Mapping[str, str]]:
        """Under which headers this operation is asked for: as a page of this origin would send them."""
        asking = (self.roles["none"], self.leaving) if operation == LEAVING else self.roles.values()
        return [{"Origin": self.urls[service], **headers} for headers in asking]

    def known(self, path: str) -> Mapping[str, str]:
        """What may stand in the place of a path's parameters so that something is there."""
        others = {"/users": self.leaving_id, "/webhooks": self.webhook_id}
        found = next((known for begin, known in others.items() if path.startswith(begin)), KNOWN)
        return {"id": found, "sku": KNOWN}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """In one process, with tokens that outlast the longest run."""
    data_dir = tmp_path_factory.mktemp("generated") / "data"
    with pytest.MonkeyPatch.context() as patched, operator_of_embedded(data_dir, FIRST_PORT) as operator:
        patched.setenv("ACCOUNTS_ACCESS_TOKEN_SECONDS", DAY)
        operator.types("up", "--mode", "embedded")
        urls = {name: service["url"] for name, service in operator.status()["services"].items()}
        accounts = AccountsClient(urls["accounts"], operator_secret(operator.layout))
        roles = {role.value: signed_in(accounts, role.value, role) for role in Role}
        leaving = signed_in(accounts, "leaving", Role.CUSTOMER)
        leaving_id = str(accounts.find("leaving")["id"])
        for method, path, body in THINGS:
            with request(urls["api_gateway"], method, path, body=body, headers=AS_JSON, seconds=30) as answer:
                assert answer.status < 300, answer.read()
        wanted = orjson.dumps({"url": "https://receiver.invalid/"})
        headers = {**AS_JSON, **roles[Role.OPERATOR]}
        with request(
            urls["api_gateway"], "POST", "/webhooks", body=wanted, headers=headers, seconds=30
        ) as answer:
            webhook_id = orjson.loads(answer.read())["id"]
        yield Served(urls, {"none": {}, **roles}, leaving, leaving_id, webhook_id)


def signed_in(accounts: AccountsClient, name: str, role: Role) -> Mapping[str, str]:
    """The headers of a user of this role."""
    accounts.add(name, f"{name}@example.com", PASSWORD, role)
    tokens = accounts.ask("POST", "/tokens", {"username": name, "password": PASSWORD})
    return bearer(str(tokens["access_token"]))


def settled(ask: Callable[[], Any]) -> Any:
    """The answer, asked for again where a busy machine had no time for it: 503 says when, not for ever."""
    answer = ask()
    for _ in range(MOST_REPETITIONS):
        if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE or "Retry-After" not in answer.headers:
            break
        time.sleep(int(answer.headers["Retry-After"]))
        answer = ask()
    return answer


def check_headers(operation: Any, answer: Any) -> None:
    """What an answer has beside the usual headers is told of its status."""
    told = operation.definition.raw["responses"][str(answer.status_code)]["headers"]
    others = {name.lower() for name in answer.headers} - {name.lower() for name in told}
    assert others <= USUAL_HEADERS, (operation.label, answer.status_code, others - USUAL_HEADERS)


def judge(
    operation: Any, mode: GenerationMode, callers: Sequence[Mapping[str, str]], known: Mapping[str, str]
) -> Counter[int]:
    """Sends so many requests as each, and counts the answers by status. Raises what schemathesis found.

    Every other sound request is for what is ``known``.
    """
    answers: Counter[int] = Counter()
    turns = itertools.cycle((True, False))

    def send(case: schemathesis.Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE and next(turns):
            case.path_parameters = {name: known[name] for name in case.path_parameters}
        for headers in callers:
            answer = settled(partial(case.call, headers=dict(headers)))
            answers[answer.status_code] += 1
            check_headers(operation, answer)
            case.validate_response(answer, excluded_checks=BEYOND_A_SCHEMA, headers=dict(headers))

    drawn = given(case=operation.as_strategy(generation_mode=mode))
    bounded = settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    with contextlib.suppress(Unsatisfiable):  # where an operation takes nothing, nothing can be broken
        bounded(drawn(send))()
    return answers


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value
)
@pytest.mark.parametrize(
    "service", ["api_gateway", "accounts", "catalogue", "ledger", "webhooks", "dashboard"]
)
def test_every_operation_answers_each_role_as_its_document_says(
    served: Served, service: str, mode: GenerationMode
) -> None:
    """Whatever is asked of it, and whoever asks."""
    document = schemathesis.openapi.from_url(f"{served.urls[service]}/openapi.json")
    judged = {}
    for found in document.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # raises for what cannot be read
        told = operation.definition.raw
        if mode in ENDLESS.get(told["operationId"], ()):
            continue
        if mode is GenerationMode.NEGATIVE and "requestBody" not in told and len(told["parameters"]) == 1:
            continue  # but for a correlation id it takes nothing that could be broken
        callers = served.callers(service, told["operationId"])
        judged[operation.label] = judge(operation, mode, callers, served.known(operation.path))
    assert sum(answers.total() for answers in judged.values()) >= EXAMPLES * len(judged), judged
