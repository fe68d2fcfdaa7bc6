"""Requests drawn from the OpenAPI documents, sound ones and broken ones, at every operation.

Schemathesis judges each answer: no 5xx, no status, body, header or media type but those that are told, and
nothing broken that is taken for sound. ``GENERATED_EXAMPLES=300`` draws so many for each operation.
"""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import CheckFunction, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.harness.embedded import operator_of_embedded

pytestmark = pytest.mark.timeout(600)

EXAMPLES = int(os.environ.get("GENERATED_EXAMPLES", "15"))
FIRST_PORT = 28_000
BEYOND_A_SCHEMA: list[CheckFunction] = [positive_data_acceptance]
"""What a schema cannot tell may be refused: a cursor that no list gave out, an id missing without a key."""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """A whole system in one process."""
    with operator_of_embedded(tmp_path_factory.mktemp("generated") / "data", FIRST_PORT) as operator:
        operator.types("up", "--mode", "embedded")
        yield operator.status()["services"]


def judge(operation: Any, mode: GenerationMode) -> Counter[int]:
    """Sends so many requests, and counts the answers by status. Raises what schemathesis found."""
    answers: Counter[int] = Counter()

    def send(case: schemathesis.Case[Any]) -> None:
        answer = case.call()
        answers[answer.status_code] += 1
        case.validate_response(answer, excluded_checks=BEYOND_A_SCHEMA)

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
@pytest.mark.parametrize("service", ["api_gateway", "accounts", "dashboard"])
def test_every_operation_answers_as_its_document_says(
    services: dict[str, Any], service: str, mode: GenerationMode
) -> None:
    """Whatever is asked of it."""
    document = schemathesis.openapi.from_url(f"{services[service]['url']}/openapi.json")
    judged = {}
    for found in document.get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]  # raises for what cannot be read
        judged[operation.label] = judge(operation, mode)
    assert sum(answers.total() for answers in judged.values()) >= EXAMPLES * len(judged) / 2, judged
