"""Ids of orders in the ledger.

An id may be used again once the store has forgotten it. The ledger keeps both orders, the earlier one under
its id and the time at which it was accepted.
"""

import re
from typing import Final

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}(?:~[0-9]{1,17})?"
_ID: Final = re.compile(ID_PATTERN)


def earlier_id(order_id: str, accepted_at: int) -> str:
    """Where the ledger has an order, accepted at that microsecond, whose id is another's by now."""
    return f"{order_id}~{accepted_at}"


def id_given(order_id: str) -> str:
    """Under which id an order was placed that is found under this one."""
    return order_id.partition("~")[0]


def is_order_id(text: str) -> bool:
    """Whether an order may be found under this id, if only in the ledger."""
    return _ID.fullmatch(text) is not None
