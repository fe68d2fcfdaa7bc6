"""The ledger's settings: variables that begin with ``LEDGER_``."""

from shared.service.api import GuardedApiSettings
from shared.settings import Count, Port, settings_config


class LedgerSettings(GuardedApiSettings):
    """Where the ledger listens, and its bounds."""

    model_config = settings_config("LEDGER_")

    port: Port = 8103
    ops_port: Port = 9105
    max_concurrent_requests: Count = 512
