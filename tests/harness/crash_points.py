"""Where services can be told to end themselves, and which service passes where."""

from typing import Final

CRASHES: Final = (
    ("api_gateway", "after_accept"),
    ("api_gateway", "after_publish_sent"),
    ("api_gateway", "after_confirm"),
    ("api_gateway", "before_202"),
    ("order_processor", "after_reserve"),
    ("order_processor", "after_event_confirm"),
    ("order_processor", "before_ack"),
    ("notifier", "between_send_and_mark"),
    ("notifier", "before_ack"),
)
"""Every crash point, in every service that passes it."""
PAYING_CRASHES: Final = ("after_authorise", "after_void")
"""Those that the processor passes where orders are paid for."""
