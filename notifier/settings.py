"""The notifier's settings: variables that begin with ``NOTIFIER_``."""

from pydantic import model_validator

from shared.settings import Port, Seconds, settings_config
from shared.worker import WorkerSettings


class NotifierSettings(WorkerSettings):
    """How much the notifier takes at a time, and its deadlines."""

    model_config = settings_config("NOTIFIER_")

    ops_port: Port = 9102
    send_timeout_seconds: Seconds = 10.0
    lease_seconds: Seconds = 15.0

    @model_validator(mode="after")
    def _lease_outlives_sending(self) -> "NotifierSettings":
        if self.lease_seconds <= self.send_timeout_seconds:
            raise ValueError("NOTIFIER_LEASE_SECONDS must be longer than NOTIFIER_SEND_TIMEOUT_SECONDS")
        return self
