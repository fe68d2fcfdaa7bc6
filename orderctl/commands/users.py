"""`orderctl user` and `orderctl keys`: who may do what, as the operator of this system decides it."""

import secrets
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

import typer

from orderctl.accounts_client import accounts_of
from orderctl.commands.options import AsJson, DataDir
from orderctl.errors import OrderctlError
from orderctl.terminal import listing, out, print_json, readable_errors, say, shown

app = typer.Typer(add_completion=False, help="Users, and what they may do.", no_args_is_help=True)
keys = typer.Typer(add_completion=False, help="The keys that sign access tokens.", no_args_is_help=True)

PASSWORD_BYTES: Final = 15


class RoleName(StrEnum):
    """What a user may be."""

    CUSTOMER = "customer"
    OPERATOR = "operator"
    ADMIN = "admin"


Name = Annotated[str, typer.Argument(help="The username.", show_default=False)]


@app.command("add")
def add(
    name: Name,
    role: Annotated[RoleName, typer.Option(help="What it may do.")] = RoleName.CUSTOMER,
    email: Annotated[
        str | None, typer.Option(help="Its address; NAME@localhost if none is given.", show_default=False)
    ] = None,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Ask for the password, instead of making one.")
    ] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Add a user. Unless its password is asked for, one is made and shown, this once."""
    with readable_errors():
        password = _asked_password() if password_stdin else secrets.token_urlsafe(PASSWORD_BYTES)
        user = accounts_of(data_dir).add(name, email or f"{name}@localhost", password, role.value)
        made = {} if password_stdin else {"password": password}
        if as_json:
            print_json({**user, **made})
            return
        say(f"{name} is {_a(role.value)} now")
        if made:
            say(f"password: {password}")


@app.command("list")
def list_users(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show every user, newest first."""
    with readable_errors():
        users = accounts_of(data_dir).users()
        if as_json:
            print_json({"users": users})
            return
        table = listing("username", "role", "email", "since")
        for user in users:
            table.add_row(*_row(user))
        out.print(table if users else shown("no users yet: orderctl user add NAME --role operator"))


@app.command("role")
def give_role(
    name: Name,
    role: Annotated[RoleName, typer.Argument(help="What it may do from now on.", show_default=False)],
    data_dir: DataDir = None,
) -> None:
    """Give a user another role. Tokens that it has say the old one until they expire."""
    with readable_errors():
        accounts = accounts_of(data_dir)
        accounts.give_role(str(accounts.find(name)["id"]), role.value)
        say(f"{name} is {_a(role.value)} now")


@app.command("remove")
def remove(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Remove a user, and erase what names the person. Orders stay."""
    with readable_errors():
        accounts = accounts_of(data_dir)
        user = accounts.find(name)
        if not yes:
            if not out.is_terminal:
                raise OrderctlError(f"this would remove {name} for good: say --yes to do it")
            typer.confirm(f"Remove {name} for good?", abort=True)
        accounts.remove(str(user["id"]))
        say(f"{name} is removed")


@keys.command("rotate")
def rotate(data_dir: DataDir = None) -> None:
    """Sign access tokens with a new key from now on. Nobody is signed out."""
    with readable_errors():
        say(f"signing with {accounts_of(data_dir).rotate_keys()} from now on")


@keys.callback()
def _keys() -> None:
    """A group, though it has one command."""


def _asked_password() -> str:
    if out.is_terminal:
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


def _row(user: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(user[column]) for column in ("username", "role", "email", "created_at"))


def _a(role: str) -> str:
    return f"an {role}" if role[0] in "aeiou" else f"a {role}"
