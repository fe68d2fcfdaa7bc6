"""What proves to accounts that a command is the operator's: a secret that lies in the data folder.

Who may read that folder may do everything here in any case. The operator may choose the secret, for a system
that was brought up without `orderctl`; else one is made when the system is brought up first.
"""

from orderctl.environment import operator_settings
from orderctl.native.layout import Layout
from orderctl.native.secrets import OPERATOR_SECRET, OPERATOR_SECRET_SETTING, Secrets


def operator_secret(layout: Layout) -> str | None:
    """The secret of this system, if it has one."""
    return Secrets(layout).get(OPERATOR_SECRET) or operator_settings().get(OPERATOR_SECRET_SETTING) or None


def settle_operator_secret(layout: Layout) -> None:
    """Notes the one that the operator chose, or makes one."""
    layout.create()
    chosen = operator_settings().get(OPERATOR_SECRET_SETTING)
    if chosen:
        Secrets(layout).keep({OPERATOR_SECRET: chosen})
    else:
        Secrets(layout).ensure([OPERATOR_SECRET])
