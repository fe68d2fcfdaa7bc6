"""`orderctl user` and `orderctl keys`: the operator of a data folder decides who may do what."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orderctl.accounts_client import AccountsClient, accounts_of
from orderctl.cli import app
from orderctl.commands import users
from orderctl.embedded.system import EmbeddedSystem
from orderctl.gateway_client import gateway_of
from orderctl.native.layout import Layout
from orderctl.native.secrets import Secrets
from orderctl.operator_secret import operator_secret, settle_operator_secret
from tests.harness.customers import SECRET, Accounts, accounts_at

Command = Callable[..., Awaitable[Result]]


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Accounts]:
    """A service without users."""
    async with accounts_at(f"sqlite:///{tmp_path}/accounts.db") as served:
        yield served


@pytest.fixture
def orderctl(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command against it."""
    url = str(accounts.session._base_url).rstrip("/")
    monkeypatch.setattr(users, "accounts_of", lambda _: AccountsClient(url, SECRET))

    def run(*words: str, said: str | None = None) -> Result:
        return CliRunner().invoke(app, words, input=said)

    async def called(*words: str, said: str | None = None) -> Result:
        return await asyncio.to_thread(run, *words, said=said)

    return called


def told(result: Result) -> str:
    """What the command said, without what the service logs in the same process."""
    return "".join(line for line in result.output.splitlines(True) if not re.match(r"\d{4}-", line))


async def test_a_user_is_added_with_a_password_that_is_shown_once(
    accounts: Accounts, orderctl: Command
) -> None:
    """It signs in with that, and has the role."""
    result = await orderctl("user", "add", "olga", "--role", "operator")
    assert result.exit_code == 0
    shown = re.fullmatch(r"olga is an operator now\npassword: (\S+)\n", told(result))
    assert shown is not None
    await accounts.sign_in("olga", shown[1])
    listed = json.loads((await orderctl("user", "list", "--json")).output)
    assert [(user["username"], user["role"]) for user in listed["users"]] == [("olga", "operator")]


async def test_a_password_is_read_where_it_should_not_be_made(accounts: Accounts, orderctl: Command) -> None:
    """And not shown again."""
    result = await orderctl("user", "add", "ann", "--password-stdin", said="a long walk at noon\n")
    assert told(result) == "ann is a customer now\n"
    await accounts.sign_in("ann")


async def test_a_user_gets_another_role_and_is_removed(accounts: Accounts, orderctl: Command) -> None:
    """Not without being told twice."""
    await accounts.register("ann")
    assert told(await orderctl("user", "role", "ann", "admin")) == "ann is an admin now\n"
    refused = await orderctl("user", "remove", "ann")
    assert (refused.exit_code, "--yes" in refused.output) == (1, True)
    assert told(await orderctl("user", "remove", "ann", "--yes")) == "ann is removed\n"
    unknown = await orderctl("user", "role", "ann", "customer")
    assert (unknown.exit_code, "there is no user ann" in unknown.output) == (1, True)


async def test_what_accounts_refuses_is_said_in_its_words(accounts: Accounts, orderctl: Command) -> None:
    """One line, and a failure."""
    await accounts.register("ann")
    result = await orderctl("user", "add", "ANN")
    assert result.exit_code == 1
    assert "Another account has that username" in result.output


async def test_keys_are_rotated(accounts: Accounts, orderctl: Command) -> None:
    """The next token is signed with what the command says."""
    result = await orderctl("keys", "rotate")
    assert told(result) == f"signing with {accounts.keys.signing.kid} from now on\n"


async def test_commands_ask_a_gateway_that_wants_tokens_as_the_operator(
    accounts: Accounts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that wants none without; a stranger's gets what the operator says."""
    url = str(accounts.session._base_url).rstrip("/")
    monkeypatch.setenv("ACCOUNTS_OPERATOR_SECRET", SECRET)
    monkeypatch.setenv("GATEWAY_AUTH", "optional")
    system = EmbeddedSystem(tmp_path / "data")
    monkeypatch.setattr(system, "url", lambda _: url)
    monkeypatch.setattr("orderctl.gateway_client.current_system", lambda _: system)
    assert gateway_of(None, None).proof() == {}
    welcome = await asyncio.to_thread(gateway_of(None, None, sees_all=True).proof)
    assert welcome["Authorization"].startswith("Bearer ")
    monkeypatch.setattr(system, "url", lambda _: "http://127.0.0.1:9")
    assert await asyncio.to_thread(gateway_of(None, None, sees_all=True).proof) == {}
    monkeypatch.setattr(system, "url", lambda _: url)
    monkeypatch.setenv("GATEWAY_AUTH", "required")
    (header,) = (await asyncio.to_thread(gateway_of(None, None).proof)).values()
    assert (await accounts.ask("GET", "/users", token=header.removeprefix("Bearer ")))[0] == 200
    monkeypatch.setenv("ORDERCTL_GATEWAY_TOKEN", "theirs")
    assert gateway_of("http://shop.example", None).proof() == {"Authorization": "Bearer theirs"}


async def test_accounts_elsewhere_are_named_by_their_url(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As inside of a container, with the secret that the environment has."""
    monkeypatch.setenv("ORDERCTL_ACCOUNTS_URL", str(accounts.session._base_url))
    monkeypatch.setenv("ACCOUNTS_OPERATOR_SECRET", SECRET)
    assert await asyncio.to_thread(accounts_of(None).users) == []


def test_the_secret_is_made_once_and_the_operators_choice_goes_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a file that its owner alone may read."""
    monkeypatch.delenv("ACCOUNTS_OPERATOR_SECRET", raising=False)
    layout = Layout(tmp_path / "data")
    assert operator_secret(layout) is None
    settle_operator_secret(layout)
    made = operator_secret(layout)
    settle_operator_secret(layout)
    assert made is not None
    assert operator_secret(layout) == made
    assert layout.secrets.stat().st_mode & 0o077 == 0
    monkeypatch.setenv("ACCOUNTS_OPERATOR_SECRET", "chosen by the operator")
    settle_operator_secret(layout)
    assert Secrets(layout).get("accounts.operator") == operator_secret(layout) == "chosen by the operator"
