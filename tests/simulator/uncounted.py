"""Bugs of an inbox, planted one by one; see planted."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared.redis.inbox import RedisInbox, RedisWrite
from tests.simulator.planted import Planting, replaced, rewritten

_COMMIT: Final = RedisInbox._commit


async def _note_first(self: Any, events: Sequence[Any], writes: Sequence[RedisWrite]) -> bool:
    """In two steps, between which a process may die."""
    is_new = await _COMMIT(self, events, [])
    if is_new:
        await _COMMIT(self, [], writes)
    return is_new


INBOX_BUGS: Final[Mapping[str, Planting]] = {
    "an inbox forgets its events": rewritten(
        "shared.redis", "inbox", ("redis.call('SET', KEYS[i], '1', 'PX', keep)", "local _ = KEYS[i]")
    ),
    "an inbox notes before it writes": replaced(RedisInbox, "_commit", _note_first),
}
