"""The page about dead letters: by what they died of, each with its story, and what can be done about them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final
from urllib.parse import quote_plus

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from dashboard.dead_letters.actions import Action, Redrive
from dashboard.dead_letters.desk import DeadLetterDesk, Looked
from dashboard.dead_letters.letter import Letter, view
from dashboard.dead_letters.problems import BUSY, problem_of
from dashboard.dead_letters.requests import ActionRequest, ListRequest, RedriveRequest, checked
from dashboard.dead_letters.routes import Collected, errand_of, summary
from dashboard.dead_letters.trail import RedisAuditTrail
from dashboard.visiting import Visits, form
from shared.errors import DependencyUnavailable, StoreUnavailable
from shared.http.auth import actor_of
from shared.http.bodies import parse_json
from shared.http.limits import HttpLimits
from shared.http.problems import (
    BROKER_UNAVAILABLE,
    INVALID_FIELDS,
    MALFORMED_FORM,
    MALFORMED_JSON,
    FieldError,
    invalid,
)
from shared.http.routes import Handler, Parameter, Route
from shared.text import visible

MOST_SHOWN: Final = 200
RESULTS_SHOWN: Final = 50
ENTRIES_SHOWN: Final = 25
LARGEST_CORRECTION_BYTES: Final = 16_384
LARGEST_FIELD_BYTES: Final = HttpLimits().body_bytes - 8_192
"""Of a form, which sends a byte as up to three, with room for what is written besides.

What is longer is corrected by `orderctl dead redrive --body`.
"""
PAUSE_SECONDS: Final = 5
"""Between two looks of an open page, which take the desk's turn; steps of orders bring none about."""
_NAMES: Final = ("queue", "reason", "sku")
_ORDER: Final = Parameter(name="order", description="About this order alone.", schema={"type": "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Letters that lie in one queue for one reason, each with what JSON shows of it."""

    queue: str
    reason: str
    letters: Sequence[tuple[Letter, Mapping[str, Any]]]


class LettersForm(BaseModel):
    """One letter by its ``id``, or all of a queue that died of a reason; ``dry_run`` is there or not."""

    model_config = ConfigDict(frozen=True)

    id: str = ""
    queue: str = ""
    reason: str = ""
    limit: str = ""
    dry_run: str = ""
    body: Annotated[str, Field(description="For redrive: goes back instead of the letter's own.")] = ""


class DeadLetterPages:
    """The routes, over the desk."""

    def __init__(
        self,
        visits: Visits,
        desk: DeadLetterDesk,
        *,
        redrive: Action,
        drop: Action,
        trail: RedisAuditTrail,
    ) -> None:
        self._visits = visits
        self._desk = desk
        self._trail = trail
        self._actions = (redrive, drop)

    def table(self) -> tuple[Route, ...]:
        """What is served, and described."""
        text = {"type": "string"}
        filters = (Parameter(name=name, description="A filter.", schema=text) for name in _NAMES)
        return (
            self._visits.route(
                "/dead-letters",
                self.show,
                name="deadLettersPage",
                summary="Dead letters by what they died of",
                parameters=(_ORDER, *filters),
                problems=(INVALID_FIELDS, BUSY, BROKER_UNAVAILABLE),
            ),
            *(
                self._visits.route(
                    f"/dead-letters/{action.name}",
                    self._acting(action),
                    method="POST",
                    name=f"{action.name}ByForm",
                    summary=f"{action.name.capitalize()} letters, by the forms of the page",
                    form=LettersForm,
                    problems=(INVALID_FIELDS, MALFORMED_FORM, MALFORMED_JSON, BUSY, BROKER_UNAVAILABLE),
                )
                for action in self._actions
            ),
        )

    async def show(self, request: web.Request) -> web.StreamResponse:
        """``GET /dead-letters``"""
        return await self._page(request.query)

    def _acting(self, action: Action) -> Handler:
        async def act(request: web.Request) -> web.StreamResponse:
            asked = _asked(checked(LettersForm, await form(request)), is_redrive=isinstance(action, Redrive))
            errand, report = errand_of(asked, action, actor_of(request)), Collected()
            try:
                tally = await self._desk.act(errand, report)
            except DependencyUnavailable as error:
                raise problem_of(error) or error from error
            done = summary(errand, tally, report.found) | {"letters": report.shown[:RESULTS_SHOWN]}
            return await self._page({}, done)

        return act

    async def _page(self, query: Mapping[str, str], done: Mapping[str, Any] | None = None) -> web.Response:
        order_id = query.get("order")
        asked = checked(ListRequest, {name: query[name] for name in _NAMES if query.get(name)})
        wanted = asked.wanted(None if not order_id else [order_id])
        silences = []
        try:
            looked = await self._desk.look(wanted, MOST_SHOWN)
        except DependencyUnavailable as error:
            if done is None:
                raise problem_of(error) or error from error
            looked, silences = Looked(), [f"What is left is not known: {error}"]
        try:
            trail = await self._trail.latest(ENTRIES_SHOWN)
        except StoreUnavailable as error:
            trail, silences = [], [*silences, f"What was done last is not known: {error}"]
        now = self._desk.now()
        groups: defaultdict[tuple[str, str], list[tuple[Letter, Mapping[str, Any]]]] = defaultdict(list)
        for letter in looked.letters:
            groups[letter.queue, letter.reason].append((letter, view(letter, now)))
        return self._visits.page(
            "dead_letters.html",
            groups=[
                Group(queue=queue, reason=reason, letters=found) for (queue, reason), found in groups.items()
            ],
            waiting=sum(looked.waiting.values()),
            looked=looked,
            order_id=order_id,
            is_narrowed=bool(order_id or any(query.get(name) for name in _NAMES)),
            done=done,
            trail=trail,
            silences=silences,
            body=_body,
            editable=_editable,
            pause_seconds=PAUSE_SECONDS,
        )


def _asked(sent: LettersForm, *, is_redrive: bool) -> ActionRequest:
    """What the form asks for. Without a letter or a kind of them it asks for nothing that is done."""
    which: dict[str, Any] = {"ids": [sent.id]} if sent.id else {"all": bool(sent.queue and sent.reason)}
    which |= {name: text for name in ("queue", "reason") if (text := getattr(sent, name))}
    limit = sent.limit.strip()
    if limit:
        which["limit"] = int(limit) if limit.isascii() and limit.isdecimal() and len(limit) < 10 else limit
    if sent.body.strip():
        if not is_redrive:
            raise invalid(
                INVALID_FIELDS,
                [FieldError(field="body", message="corrects what is sent back, and only that")],
            )
        corrected = {"body": parse_json(sent.body.encode()), "dry_run": bool(sent.dry_run)}
        return checked(RedriveRequest, which | corrected)
    return checked(ActionRequest, which | {"dry_run": bool(sent.dry_run)})


def _editable(told: Mapping[str, Any]) -> str | None:
    """The body as JSON that means the same when it comes back: what is not seen is written as an escape.

    None where a form could not send it back.
    """
    if told["body_bytes"] > LARGEST_CORRECTION_BYTES:
        return None
    if "body" not in told:
        return ""
    text = orjson.dumps(told["body"], option=orjson.OPT_INDENT_2).decode()
    text = "".join(each if each == "\n" or visible(each) == each else _escape(each) for each in text)
    lines = text.count("\n")
    most = 3 * (len(text.encode()) + lines)
    fits = most <= LARGEST_FIELD_BYTES or len(quote_plus(text)) + 3 * lines <= LARGEST_FIELD_BYTES
    return text if fits else None


def _escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def _body(told: Mapping[str, Any]) -> str:
    """A letter's body, for people."""
    if "body" in told:
        return orjson.dumps(told["body"], option=orjson.OPT_INDENT_2).decode()
    return f"no JSON, or too much of it; its beginning in base64:\n{told['body_base64']}"
