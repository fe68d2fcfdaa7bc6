"""Dead letters over HTTP: read them, send them back, drop them."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import orjson
from aiohttp import web

from dashboard.access import OperatorAccess
from dashboard.dead_letters import schemas
from dashboard.dead_letters.actions import Acted, Action, CorrectedRedrive, DryRun, Redrive
from dashboard.dead_letters.desk import DeadLetterDesk, Errand, Tally
from dashboard.dead_letters.letter import Wanted, view
from dashboard.dead_letters.problems import BUSY, problem_of
from dashboard.dead_letters.requests import (
    ACTION_LIMITS,
    ActionRequest,
    AuditRequest,
    ListRequest,
    RedriveRequest,
    read_action,
    read_query,
)
from dashboard.dead_letters.trail import MOST_KEPT, RedisAuditTrail
from shared.errors import DependencyUnavailable
from shared.http.auth import Access, actor_of
from shared.http.bodies import JsonBodies
from shared.http.edge import begin_answer
from shared.http.negotiation import preferred
from shared.http.openapi import query_parameters
from shared.http.problems import (
    BROKER_UNAVAILABLE,
    FORBIDDEN,
    INVALID_FIELDS,
    NOT_FOUND,
    STORE_UNAVAILABLE,
    TOO_MANY_ATTEMPTS,
    UNAUTHORIZED,
    Problem,
    ProblemType,
)
from shared.http.routes import Handler, Route
from shared.logs import get_logger

LINES: Final = "application/x-ndjson"
MOST_RESULTS: Final = 1_000
"""How many letters an answer lists; counts are of all."""
_JSON: Final = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE

log = get_logger(__name__)


class DeadLetterRoutes:
    """The routes, over the desk."""

    def __init__(
        self,
        desk: DeadLetterDesk,
        *,
        redrive: Action,
        drop: Action,
        trail: RedisAuditTrail,
        access: OperatorAccess,
    ) -> None:
        self._desk = desk
        self._trail = trail
        self._redrive = redrive
        self._drop = drop
        self._access = access
        self._bodies = JsonBodies(ACTION_LIMITS)

    def table(self) -> tuple[Route, ...]:
        """What is served, and described."""
        return (
            self._route(
                path="/dead",
                handler=self.list,
                name="listDeadLetters",
                summary="List dead letters",
                description="In the order in which they lie.",
                meaning="The letters, and how many wait in each queue.",
                answer=schemas.LIST,
                parameters=query_parameters(ListRequest),
                problems=(INVALID_FIELDS,),
            ),
            self._route(
                path="/dead/{id}",
                handler=self.show,
                name="getDeadLetter",
                summary="Show one dead letter",
                meaning="The letter with its history and its body.",
                answer=schemas.LETTER,
                parameters=(schemas.ID,),
                problems=(NOT_FOUND,),
            ),
            self._action("redrive", self.redrive, "Send letters back to their consumers", RedriveRequest),
            self._action("drop", self.drop, "Give letters up", ActionRequest),
            self._route(
                path="/dead-audit",
                handler=self.audit,
                name="listDeadLetterAudit",
                summary="What was done to dead letters, and by whom",
                description=f"The newest first, of the last {MOST_KEPT:,}.",
                meaning="The letters that were dealt with.",
                answer=schemas.AUDIT,
                parameters=query_parameters(AuditRequest),
                problems=(INVALID_FIELDS,),
            ),
        )

    def _action(self, name: str, handler: Handler, summary: str, body: type[ActionRequest]) -> Route:
        return self._route(
            method="POST",
            path=f"/dead/{name}",
            handler=handler,
            name=name,
            summary=summary,
            description="At most once in effect, however often it is asked. "
            f"With `Accept: {LINES}` the answer comes line by line as letters are dealt with.",
            meaning="What became of them.",
            answer=schemas.RESULT,
            bodies=(body,),
            body_examples={"one order": {"ids": ["order123"]}, "all, to see": {"all": True, "dry_run": True}},
        )

    def _route(self, *, handler: Handler, problems: Sequence[ProblemType] = (), **further: Any) -> Route:
        refusals = (UNAUTHORIZED, FORBIDDEN, TOO_MANY_ATTEMPTS, BUSY, BROKER_UNAVAILABLE, STORE_UNAVAILABLE)
        return Route(
            handler=self._guarded(handler),
            access=Access.OPERATOR,
            tag="dead letters",
            problems=(*problems, *refusals),
            **further,
        )

    async def list(self, request: web.Request) -> web.StreamResponse:
        """The letters that the query asks for."""
        query = read_query(request, ListRequest)
        looked = await self._desk.look(query.wanted(), query.limit)
        now = self._desk.now()
        return _answer(
            {
                "letters": [view(letter, now) for letter in looked.letters],
                "queues": looked.waiting,
                "more": looked.limited,
                "complete": looked.complete,
            }
        )

    async def show(self, request: web.Request) -> web.StreamResponse:
        """One letter, by its id or its order's."""
        wanted = Wanted(ids=(request.match_info["id"],))
        looked = await self._desk.look(wanted, 1)
        if not looked.letters:
            raise Problem(NOT_FOUND, "There is no such dead letter.")
        return _answer(view(looked.letters[0], self._desk.now()))

    async def redrive(self, request: web.Request) -> web.StreamResponse:
        """Sends letters back to their consumers."""
        return await self._act(request, self._redrive, RedriveRequest)

    async def drop(self, request: web.Request) -> web.StreamResponse:
        """Gives letters up."""
        return await self._act(request, self._drop, ActionRequest)

    async def audit(self, request: web.Request) -> web.StreamResponse:
        """What was done last."""
        entries = await self._trail.latest(read_query(request, AuditRequest).limit)
        return _answer({"audit": [asdict(entry) for entry in entries]})

    async def _act(
        self, request: web.Request, action: Action, model: type[ActionRequest]
    ) -> web.StreamResponse:
        errand = errand_of(await read_action(request, self._bodies, model), action, actor_of(request))
        if preferred(",".join(request.headers.getall("Accept", ())), (LINES,)) == LINES:
            return await self._by_lines(request, errand)
        report = Collected()
        tally = await self._desk.act(errand, report)
        if tally.fault is not None and tally.done == 0:
            raise Problem(
                BROKER_UNAVAILABLE, "No broker took the messages in time. All letters are where they were."
            )
        return _answer(summary(errand, tally, report.found) | {"letters": report.shown})

    async def _by_lines(self, request: web.Request, errand: Errand) -> web.StreamResponse:
        report = _ResultLines(request)
        try:
            tally = await self._desk.act(errand, report)
        except DependencyUnavailable as error:
            if not report.has_begun:
                raise
            log.warning("dead letters out of reach", reason=str(error))
            tally = Tally(complete=False, fault=str(error))
        return await report.end(summary(errand, tally, report.found))

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            await self._access.check(request)
            try:
                return await handler(request)
            except DependencyUnavailable as error:
                problem = problem_of(error)
                if problem is None:
                    raise
                log.warning("dead letters out of reach", reason=str(error))
                raise problem from error

        return guarded


def errand_of(asked: ActionRequest, action: Action, client: str) -> Errand:
    """What was asked for, noted in the log unless it is for looking only."""
    if not asked.dry_run:
        said = asked.model_dump(exclude={"body"})
        log.warning("audit", action=f"{action.name} asked for", asked=said, client=client)
    errand = Errand(action=action, wanted=asked.wanted(asked.ids), client=client, limit=asked.limit)
    dry = DryRun(action.name)
    if isinstance(asked, RedriveRequest) and asked.body is not None and isinstance(action, Redrive):
        corrected = CorrectedRedrive(action, orjson.dumps(asked.body))
        errand, dry = replace(errand, action=corrected, limit=1), DryRun(action.name, corrected.obstacle)
    return replace(errand, action=dry) if asked.dry_run else errand


class Collected:
    """Results for one answer at the end."""

    def __init__(self) -> None:
        self.shown: list[dict[str, Any]] = []
        self.found: set[str] = set()

    async def opened(self, queue: str, waiting: int) -> None:
        """See Report."""

    async def acted(self, results: Sequence[Acted]) -> None:
        _note_found(self.found, results)
        room = MOST_RESULTS - len(self.shown)
        self.shown += [_result(result) for result in results[:room]]


class _ResultLines:
    """Results as they come, one line of JSON each, so that a caller can show how it goes on."""

    def __init__(self, request: web.Request) -> None:
        self.found: set[str] = set()
        self._request = request
        self._response: web.StreamResponse | None = None

    @property
    def has_begun(self) -> bool:
        """Whether something of the answer is on its way."""
        return self._response is not None

    async def opened(self, queue: str, waiting: int) -> None:
        await self._write({"queue": queue, "waiting": waiting})

    async def acted(self, results: Sequence[Acted]) -> None:
        _note_found(self.found, results)
        await self._write(*({"letter": _result(result)} for result in results))

    async def end(self, summary: dict[str, Any]) -> web.StreamResponse:
        """The last line."""
        response = await self._write({"summary": summary})
        await response.write_eof()
        return response

    async def _write(self, *lines: dict[str, Any]) -> web.StreamResponse:
        if self._response is None:
            self._response = await begin_answer(self._request, {"Content-Type": LINES})
        await self._response.write(b"".join(orjson.dumps(line, option=_JSON) for line in lines))
        return self._response


def _result(result: Acted) -> dict[str, Any]:
    letter = result.letter
    return {
        "id": letter.id,
        "queue": letter.queue,
        "order_id": letter.order_id,
        "reason": letter.reason,
        "outcome": result.outcome.value,
        "detail": result.detail,
    }


def _note_found(found: set[str], results: Sequence[Acted]) -> None:
    found.update(each for result in results for each in (result.letter.id, result.letter.order_id) if each)


def summary(errand: Errand, tally: Tally, found: set[str]) -> dict[str, Any]:
    """What an errand came to, as JSON shows it."""
    return {
        "action": errand.action.name,
        "dry_run": isinstance(errand.action, DryRun),
        "matched": tally.matched,
        "done": tally.done,
        "failed": tally.failed,
        "complete": tally.complete,
        "more": tally.limited,
        "fault": tally.fault,
        "not_found": sorted(set(errand.wanted.ids or ()) - found),
    }


def _answer(document: dict[str, Any]) -> web.Response:
    body = orjson.dumps(document, option=_JSON | orjson.OPT_INDENT_2)
    return web.Response(body=body, content_type="application/json")
