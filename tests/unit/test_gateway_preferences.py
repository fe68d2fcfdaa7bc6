"""How customers want to be told: shown and changed by themselves and by operators, over HTTP."""

from collections.abc import AsyncIterator

import pytest

from shared.http.auth import AuthMode, Caller
from tests.harness.http_gateway import Gateway, gateway, problem_of
from tests.harness.tokens import ADMIN, ALICE, BOB, OPERATOR, a_guard, bearer

PATH = "/customers/alice/preferences"
NO_MAIL = '{"mail": false, "webhook": true}'


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway that takes most requests without a token."""
    async with gateway(guard=a_guard(AuthMode.OPTIONAL)) as running:
        yield running


@pytest.mark.parametrize("caller", [ALICE, OPERATOR, ADMIN], ids=["herself", "operator", "admin"])
async def test_preferences_are_shown_and_changed(served: Gateway, caller: Caller) -> None:
    """Both channels are on before; what was answered is what is shown from then on."""
    shown = await served.send("GET", PATH, **bearer(caller))
    assert await shown.json() == {"mail": True, "webhook": True}
    changed = await served.send("PUT", PATH, NO_MAIL, **bearer(caller))
    assert (changed.status, await changed.json()) == (200, {"mail": False, "webhook": True})
    assert await (await served.send("GET", PATH, **bearer(ALICE))).json() == await changed.json()


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_another_customer_is_told_nothing(served: Gateway, method: str) -> None:
    """Without a token there is no answer: preferences are about accounts."""
    others = await served.send(method, PATH, NO_MAIL if method == "PUT" else b"", **bearer(BOB))
    assert others.status == 404
    assert (await served.send(method, PATH)).status == 401
    assert (await served.send(method, "/customers/%20/preferences", **bearer(ADMIN))).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ('{"mail": false}', "webhook"),
        ('{"mail": "no", "webhook": true}', "mail"),
        ('{"mail": 1, "webhook": true}', "mail"),
        ('{"mail": true, "webhook": true, "sms": true}', "sms"),
    ],
)
async def test_a_choice_is_whole_and_of_known_channels(served: Gateway, body: str, field: str) -> None:
    """Nothing is changed otherwise."""
    refused = await served.send("PUT", PATH, body, **bearer(ALICE))
    assert refused.status == 422
    assert [each["field"] for each in (await problem_of(refused))["errors"]] == [field]
    shown = await served.send("GET", PATH, **bearer(ALICE))
    assert await shown.json() == {"mail": True, "webhook": True}
