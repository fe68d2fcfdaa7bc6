"""Whether the edge can be tried here."""

import shutil

from orderctl.errors import OrderctlError
from orderctl.native import packages


def has_edge() -> bool:
    """Whether this machine has what the edge is made of."""
    try:
        packages.nginx()
    except OrderctlError:
        return False
    return shutil.which("openssl") is not None
