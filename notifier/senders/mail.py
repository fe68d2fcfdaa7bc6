"""What a customer's e-mail looks like: a text and an HTML part, rendered from the templates beside it."""

import re
from collections.abc import Callable
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from notifier.domain import OUTCOMES, Notification
from shared.mailboxes import Mailbox

TEMPLATES: Final = Path(__file__).parent / "templates"
_LINKING: Final = re.compile(r"[.:@](?=\S)")
_AMOUNT: Final = re.compile(r"[0-9 ]{1,24}(?:\.[0-9]{2,4})? [A-Z]{3}")
"""No link, and to be copied and searched for as it stands."""


class LetterWriter:
    """Writes letters from one address. ``clock`` gives the time, with its zone."""

    def __init__(self, sender: Mailbox, clock: Callable[[], datetime]) -> None:
        self._sender = sender
        self._clock = clock
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            finalize=unlinked,
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def write(self, notification: Notification, recipient: Mailbox) -> EmailMessage:
        """The letter about ``notification``; its bytes are ASCII unless the recipient's address is not."""
        policy = SMTPUTF8 if recipient.needs_utf8 else SMTP
        letter = EmailMessage(policy=policy.clone(cte_type="7bit"))
        letter["From"] = _header(self._sender)
        letter["To"] = _header(recipient)
        letter["Subject"] = unlinked(notification.subject)
        letter["Date"] = self._clock()
        letter["Message-ID"] = message_id(notification.id, self._sender.domain)
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(self._render(f"{notification.kind}.txt", notification))
        letter.add_alternative(self._render(f"{notification.kind}.html", notification), subtype="html")
        return letter

    def _render(self, template: str, notification: Notification) -> str:
        return self._templates.get_template(template).render(letter=notification, outcomes=OUTCOMES)


def unlinked(said: Any) -> Any:
    """The same to read, and nothing that a mail program turns into a link.

    A SKU or an id may be a domain, and a reason any text. Programs make links of what looks like one, in
    plain text too, so a zero-width non-joiner follows each sign that a link cannot do without.
    """
    if not isinstance(said, str) or _AMOUNT.fullmatch(said):
        return said
    return _LINKING.sub("\\g<0>\u200c", said)


def message_id(event_id: str, domain: str) -> str:
    """The same for the same event, different for any two, and of a form that every mail server takes.

    RFC 5322 wants atoms joined by single dots. A colon becomes a slash, and a dot without an atom on both of
    its sides becomes ``=2E``; neither the slash nor the equals sign can occur in an event's id.
    """
    atoms = event_id.replace(":", "/").split(".")
    left = atoms[0]
    for before, after in pairwise(atoms):
        left += f".{after}" if before and after else f"=2E{after}"
    return f"<{left}@{domain}>"


def _header(mailbox: Mailbox) -> Address:
    return Address(display_name=mailbox.name, username=mailbox.local, domain=mailbox.domain)
