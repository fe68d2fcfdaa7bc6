"""Who a customer is, and what can be said about one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.errors import PipelineError
from shared.http.auth import Role
from shared.mailboxes import mailbox

OPERATOR_ID: Final = "operator"
"""In whose name the owner of the operator's secret acts; accounts have UUIDs."""


class NameTaken(PipelineError):
    """Raised when an account has that name or address already. ``field`` says which."""

    def __init__(self, field: str) -> None:
        super().__init__(f"the {field} is taken")
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One account, as it is shown."""

    id: str
    username: str
    email: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An account with what its password is compared with."""

    user: User
    password_hash: str


def name_key(username: str) -> str:
    """What is compared where names must differ: names are ASCII, and case tells none apart."""
    return username.lower()


def email_key(address: str) -> str:
    """What is compared where addresses must differ. Raises ValueError for what is no address.

    Case tells no addresses apart, though a server might: two people whose addresses differ by it would
    be taken for one another.
    """
    parts = mailbox(address)
    return f"{parts.local}@{parts.domain}".casefold()
