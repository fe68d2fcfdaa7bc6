"""Somebody at a terminal who types `orderctl`, with a data folder of their own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from orderctl.native import processes
from orderctl.native.layout import Layout
from orderctl.native.ports import STORES

TYPED_SECONDS = 200


class Operator:
    """Runs commands as an operator does."""

    def __init__(self, data_dir: Path, tree: Path | None = None) -> None:
        """``tree`` is whose `orderctl` it is, this one's if none is given."""
        self.layout = Layout(data_dir)
        self._tree = tree

    def types(self, *words: str, status: int = 0) -> str:
        """Run one command and return what it printed; the exit status must be as expected."""
        return self.hears(*words, status=status)[0]

    def hears(self, *words: str, status: int = 0) -> tuple[str, str]:
        """The same, with what was printed as an error beside it."""
        result = self._typed(*words)
        assert result.returncode == status, result.stdout + result.stderr
        return result.stdout, result.stderr

    def _typed(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "orderctl", *words, "--data-dir", str(self.layout.data_dir)],
            cwd=self._tree,
            capture_output=True,
            text=True,
            timeout=TYPED_SECONDS,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """What a script sees."""
        seen: dict[str, Any] = json.loads(self._typed("status", "--json").stdout)
        return seen

    def pids(self) -> dict[str, int | None]:
        """The pid of every part."""
        seen = self.status()
        parts = {name: service["pid"] for name, service in seen["services"].items()}
        parts |= {node["node"]: node["pid"] for node in seen["rabbitmq"]}
        return parts | {store: seen[store]["pid"] for store in STORES}

    def waits_until_ready(self, name: str) -> None:
        """Look until the service is ready."""
        ready = processes.wait_until(lambda: self.status()["services"][name]["ready"], 30.0)
        assert ready, self.types("logs", name)
