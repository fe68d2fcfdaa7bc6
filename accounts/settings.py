"""The settings of accounts: variables that begin with ``ACCOUNTS_``."""

from typing import Annotated

from pydantic import Field, SecretStr

from shared.service.api import ApiSettings, TellingSettings
from shared.settings import Port, Seconds, settings_config


class AccountsSettings(ApiSettings, TellingSettings):
    """Where accounts listens, how long its tokens hold, and the operator's secret.

    A client that knows the secret can become an admin; without one, only an admin who exists already can.
    """

    model_config = settings_config("ACCOUNTS_")

    port: Port = 8101
    ops_port: Port = 9103
    access_token_seconds: Seconds = 900.0
    session_seconds: Seconds = 30 * 86_400.0
    operator_secret: Annotated[SecretStr, Field(min_length=16)] | None = None
