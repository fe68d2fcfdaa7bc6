"""Waiting for a dependency that is away, without filling a disk with it."""

import pytest
import structlog

from shared.errors import StoreUnavailable
from shared.messaging import waiting
from shared.messaging.waiting import SAY_EVERY, waiting_out


async def test_an_outage_is_waited_out_and_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred messages wait at a time: a line for each attempt of each was two gigabytes a day."""
    monkeypatch.setattr(waiting, "backoff_seconds", lambda *_: 0.0)
    failures = iter([StoreUnavailable("away")] * (2 * SAY_EVERY + 1))

    async def action() -> str:
        failure = next(failures, None)
        if failure:
            raise failure
        return "done"

    with structlog.testing.capture_logs() as lines:
        assert await waiting_out(action) == "done"
    assert [line["reason"] for line in lines] == ["away"] * 3
