"""Stores and a broker that are native processes and take TLS alone, with a client certificate."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from orderctl.native import processes, redis as native_redis
from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK, REDIS
from tests.harness.authority import Authority
from tests.harness.stores import free_port


@contextmanager
def secure_redis(authority: Authority) -> Iterator[str]:
    pass
