"""What is asked about customers and what is answered, as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from shared.http.auth import Role
from shared.http.problems import ProblemView
from shared.http.validation import Body
from shared.mailboxes import mailbox
from shared.messages import EmailAddress, Identifier

SHORTEST_PASSWORD: Final = 10
LONGEST_PASSWORD: Final = 256
LONGEST_NAME: Final = 254
LONGEST_REFRESH_TOKEN: Final = 512


def _deliverable(address: str) -> str:
    """The address as it was sent. Raises ValueError where no letter could ever go there."""
    mailbox(address)
    return address


Email = Annotated[EmailAddress, AfterValidator(_deliverable)]
NewPassword = Annotated[
    str,
    Field(
        min_length=SHORTEST_PASSWORD,
        max_length=LONGEST_PASSWORD,
        description="Ten characters or more, and none of those that guessing tries first.",
    ),
]
AnyPassword = Annotated[str, Field(min_length=1, max_length=LONGEST_PASSWORD)]
Name = Annotated[
    str, Field(min_length=1, max_length=LONGEST_NAME, description="The username, or the e-mail address.")
]


class RegistrationBody(Body):
    """A new customer. Neither name nor address may be another's, in any case."""

    username: Identifier
    email: Email
    password: NewPassword


class OwnChangeBody(Body):
    """What a customer changes about itself. A new password takes the one that it replaces."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["email"], "properties": {"email": {"type": "string"}}},
                {
                    "required": ["password", "current_password"],
                    "properties": {"password": {"type": "string"}, "current_password": {"type": "string"}},
                },
            ]
        }
    )

    email: Email | None = None
    password: NewPassword | None = None
    current_password: AnyPassword | None = None


class RoleBody(Body):
    """What a user may do from now on. Tokens that were given out say the old role until they expire."""

    role: Annotated[Role, Field(strict=False)]


class CredentialsBody(Body):
    """Who signs in, and the proof."""

    username: Name
    password: AnyPassword


class CredentialsForm(BaseModel):
    """The same as clients of OAuth send it. What else they send is not looked at."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    username: Name
    password: AnyPassword


class RefreshBody(Body):
    """The refresh token that was given out last. It holds once."""

    refresh_token: Annotated[str, Field(min_length=1, max_length=LONGEST_REFRESH_TOKEN)]


@dataclass(frozen=True, slots=True, kw_only=True)
class NameTakenView(ProblemView):
    """Another account has what stands in this field, in any case of its letters."""

    field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserView:
    """A user. Times are in UTC."""

    id: str
    username: str
    email: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UserList:
    """Users, newest first. ``next_cursor`` leads to the next page; null on the last one."""

    users: Sequence[UserView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStatistics:
    """How many users there are, by what they may do."""

    users: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenView:
    """An access token, for ``Authorization: Bearer``, and for how many seconds it holds.

    The refresh token gets the next pair, once.
    """

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int
    refresh_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySetView:
    """The public keys that access tokens are verified with, as JWKs (RFC 7517)."""

    keys: Sequence[Mapping[str, Any]]
