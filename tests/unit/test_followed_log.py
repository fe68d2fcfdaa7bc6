"""A log that grows and is rotated meanwhile is counted to its last line."""

import json
from pathlib import Path

from tests.harness.evidence import FollowedLog


def told(event: str) -> str:
    """A line as the notifier writes it."""
    text = f"Order {event} is created.\n\n  1 x case\n  Total: 19.99 EUR"
    return json.dumps({"event": "notification", "notification_id": event, "text": text}) + "\n"


def test_lines_are_counted_across_a_rotation(tmp_path: Path) -> None:
    """What was written just before it counts, and what is half written waits for its end."""
    log = tmp_path / "notifier.log"
    followed = FollowedLog(log)
    followed.read()
    log.write_text(told("a") + told("b")[:10])
    followed.read()
    assert followed.told == {"a": 1}
    with log.open("a") as more:
        more.write(told("b")[10:] + told("c"))
    log.rename(tmp_path / "notifier.log.1")
    log.write_text(told("a"))
    followed.read()
    followed.close()
    assert followed.told == {"a": 2, "b": 1, "c": 1}
    assert followed.totals == dict.fromkeys("abc", "19.99 EUR")
