"""What an attempt does to its delivery and to its endpoint, in SQL."""

import random
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.sql.database import Database
from shared.webhooks.schemas import DeliveryStatus
from webhooks.model import (
    DISABLE_SECONDS,
    DISABLED_FAILING,
    DISABLED_GONE,
    GONE,
    LATEST_SHOWN,
    LONGEST_RETRY_AFTER_SECONDS,
    RECOVERED_AFTER_SECONDS,
    SECOND,
    ClaimedDelivery,
    DeliveryAttempt,
    hold_seconds,
    retry_seconds,
)
from webhooks.schema import ATTEMPTS, DELIVERIES, ENDPOINTS, IS_PENDING


class OutcomeStore:
    """Settles claimed deliveries."""

    def __init__(self, database: Database, random_: random.Random) -> None:
        self._database = database
        self._random = random_

    async def settle(self, claimed: ClaimedDelivery, attempt: DeliveryAttempt) -> DeliveryStatus:
        """Notes an attempt and all that follows from it; where the delivery stands then.

        Raises DatabaseUnavailable. What was removed meanwhile counts as failed.
        """
        mine = DELIVERIES.c.endpoint_id == claimed.endpoint_id, DELIVERIES.c.sequence == claimed.sequence

        async def write(connection: AsyncConnection) -> DeliveryStatus:
            of_endpoint = select(ENDPOINTS).where(ENDPOINTS.c.id == claimed.endpoint_id).with_for_update()
            endpoint = (await connection.execute(of_endpoint)).one_or_none()
            of_delivery = select(DELIVERIES).where(*mine).with_for_update()  # none sweeps it meanwhile
            row = (await connection.execute(of_delivery)).one_or_none()
            if endpoint is None or row is None:
                return DeliveryStatus.FAILED
            await _note(connection, row, attempt)
            after = self._after(row, attempt)
            await connection.execute(update(DELIVERIES).where(*mine).values(**after))
            is_given_up = after["status"] is DeliveryStatus.FAILED
            changed = update(ENDPOINTS).where(ENDPOINTS.c.id == endpoint.id)
            await connection.execute(changed.values(**_endpoint_after(endpoint, attempt, is_given_up)))
            if attempt.is_success and _was_away(endpoint, attempt.at):
                await _hurry(connection, endpoint.id, attempt.at)
            return DeliveryStatus(after["status"])

        return await self._database.transaction(write)

    def _after(self, row: Any, attempt: DeliveryAttempt) -> Mapping[str, Any]:
        """What becomes of the delivery. One that is settled already, by a claim that came later, stays so."""
        after = {"attempts": row.attempts + 1, "tries": row.tries + 1, "leased_until": 0}
        status, due_at = DeliveryStatus(row.status), row.due_at
        if attempt.is_success:
            status = DeliveryStatus.SUCCEEDED
        elif status is DeliveryStatus.PENDING and (attempt.at >= row.expires_at or attempt.status == GONE):
            status = DeliveryStatus.FAILED
        elif status is DeliveryStatus.PENDING:
            seconds = max(retry_seconds(row.tries + 1, self._random), _asked_for(attempt))
            due_at = min(attempt.at + int(seconds * SECOND), row.expires_at)
        return {**after, "status": status, "due_at": due_at}


async def _note(connection: AsyncConnection, row: Any, attempt: DeliveryAttempt) -> None:
    """Keeps the attempt, and as many before it as are shown: it can be asked for without end."""
    await connection.execute(insert(ATTEMPTS).values(_logged(row, attempt)))
    if (last := row.attempts + 1 - LATEST_SHOWN) > 0:
        of_delivery = ATTEMPTS.c.endpoint_id == row.endpoint_id, ATTEMPTS.c.sequence == row.sequence
        await connection.execute(delete(ATTEMPTS).where(*of_delivery, ATTEMPTS.c.n <= last))


async def _hurry(connection: AsyncConnection, endpoint_id: str, now: int) -> None:
    """Whatever waits for an endpoint that is back is due now."""
    waiting = DELIVERIES.c.endpoint_id == endpoint_id, IS_PENDING
    await connection.execute(update(DELIVERIES).where(*waiting, DELIVERIES.c.due_at > now).values(due_at=now))


def _endpoint_after(endpoint: Any, attempt: DeliveryAttempt, is_given_up: bool) -> Mapping[str, Any]:
    if attempt.is_success:
        return {"failing_since": None, "failures": 0, "held_until": 0}
    failures = endpoint.failures + 1
    since = attempt.at if endpoint.failing_since is None else endpoint.failing_since
    held = max(hold_seconds(failures), _asked_for(attempt))
    after = {"failing_since": since, "failures": failures, "held_until": attempt.at + int(held * SECOND)}
    if endpoint.disabled_reason is None and attempt.status == GONE:
        return {**after, "disabled_reason": DISABLED_GONE}
    if endpoint.disabled_reason is None and is_given_up and attempt.at - since >= DISABLE_SECONDS * SECOND:
        return {**after, "disabled_reason": DISABLED_FAILING}
    return after


def _was_away(endpoint: Any, now: int) -> bool:
    since = endpoint.failing_since
    return since is not None and now - since >= RECOVERED_AFTER_SECONDS * SECOND


def _asked_for(attempt: DeliveryAttempt) -> float:
    return min(attempt.retry_after_seconds, LONGEST_RETRY_AFTER_SECONDS)


def _logged(row: Any, attempt: DeliveryAttempt) -> Mapping[str, Any]:
    return {
        "endpoint_id": row.endpoint_id,
        "sequence": row.sequence,
        "n": row.attempts + 1,
        "at": attempt.at,
        "milliseconds": attempt.milliseconds,
        "status": attempt.status,
        "error": attempt.error,
    }
