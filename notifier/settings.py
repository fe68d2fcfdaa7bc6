"""The notifier's settings: variables that begin with ``NOTIFIER_``."""

from typing import Any, Final, Literal

from pydantic import FilePath, SecretStr, field_validator, model_validator

from shared.mailboxes import named_mailbox
from shared.pipeline import NOTIFIER
from shared.service.worker import WorkerSettings
from shared.settings import Count, Port, Seconds, settings_config
from shared.urls import is_loopback

LETTERS_AT_A_TIME: Final = 16
"""How many events are taken at a time where mail is sent: letters take seconds, and these share one ack."""


class NotifierSettings(WorkerSettings):
    """How much the notifier takes at a time, its deadlines, and its way to the customers.

    ``send_timeout_seconds`` bounds every answer of the mail server but the one to a whole letter: after that
    long the letter counts as unconfirmed, and the answer may come for ``confirm_timeout_seconds``.
    ``letters_per_hour`` bounds the letters to one address; ``batch_limit`` is smaller where mail is sent.
    """

    model_config = settings_config(f"{NOTIFIER.settings}_")

    ops_port: Port = NOTIFIER.operations_port
    send_timeout_seconds: Seconds = 10.0
    confirm_timeout_seconds: Seconds = 300.0
    unconfirmed_at_once: Count = 20
    letters_per_hour: Count = 20
    lease_seconds: Seconds = 15.0
    sends_at_once: Count = 1

    sender: Literal["log", "smtp"] = "log"
    mail_from: str = ""
    smtp_host: str = "127.0.0.1"
    smtp_port: Port = 587
    smtp_tls: Literal["starttls", "if_offered", "implicit", "off"] = "starttls"
    smtp_ca_file: FilePath | None = None
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")

    @field_validator("mail_from")
    @classmethod
    def _from_one_mailbox(cls, text: str) -> str:
        if text and named_mailbox(text).needs_utf8:
            raise ValueError("an address with letters beyond ASCII is not taken by every mail server")
        return text

    @model_validator(mode="before")
    @classmethod
    def _fewer_letters_at_a_time(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {"batch_limit": LETTERS_AT_A_TIME, **given} if given.get("sender") == "smtp" else given

    @model_validator(mode="after")
    def _waits_fit_together(self) -> "NotifierSettings":
        if self.lease_seconds < 6 * self.store_timeout_seconds:
            raise ValueError(
                "NOTIFIER_LEASE_SECONDS must be at least six times NOTIFIER_STORE_TIMEOUT_SECONDS: "
                "it is renewed every third of it"
            )
        if self.confirm_timeout_seconds <= self.send_timeout_seconds:
            raise ValueError(
                "NOTIFIER_CONFIRM_TIMEOUT_SECONDS must be longer than NOTIFIER_SEND_TIMEOUT_SECONDS"
            )
        return self

    @model_validator(mode="after")
    def _mail_can_be_sent(self) -> "NotifierSettings":
        if self.sender == "smtp" and not self.mail_from:
            raise ValueError("NOTIFIER_MAIL_FROM must name the sending address when NOTIFIER_SENDER is smtp")
        return self

    @model_validator(mode="after")
    def _password_stays_secret(self) -> "NotifierSettings":
        if bool(self.smtp_username) != bool(self.smtp_password):
            raise ValueError("NOTIFIER_SMTP_USERNAME and NOTIFIER_SMTP_PASSWORD go together")
        readable = self.smtp_tls in ("if_offered", "off") and not is_loopback(self.smtp_host)
        if self.smtp_password and readable:
            raise ValueError(
                "NOTIFIER_SMTP_TLS must be starttls or implicit where a password leaves the machine"
            )
        return self
