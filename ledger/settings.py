"""The ledger's settings: variables that begin with ``LEDGER_``."""

from shared.service.api import ApiSettings
from shared.settings import Port, settings_config


class LedgerSettings(ApiSettings):
    """Where the ledger listens, and its deadlines."""

    model_config = settings_config("LEDGER_")

    port: Port = 8103
    ops_port: Port = 9105
