"""The passwords of one data folder, made once and kept in one file that only its owner may read."""

import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orderctl.native.layout import Layout

OPERATOR_SECRET = "accounts.operator"  # noqa: S105 - a name
"""The name of what proves to accounts that a command is the operator's."""
OPERATOR_SECRET_SETTING = "ACCOUNTS_OPERATOR_SECRET"  # noqa: S105 - a name


@dataclass(frozen=True, slots=True)
class Secrets:
    """Each password by its name, such as ``postgres.accounts``."""

    layout: Layout

    def get(self, name: str) -> str | None:
        """The password, if it was made."""
        return self._read().get(name)

    def ensure(self, names: Iterable[str]) -> None:
        """Makes those that are missing."""
        with self.layout.making_secrets():
            known = self._read()
            made = {name: secrets.token_hex(20) for name in names if name not in known}
            if made:
                self._write(known | made)

    def keep(self, chosen: Mapping[str, str]) -> None:
        """Takes what was chosen in the place of what was made."""
        with self.layout.making_secrets():
            known = self._read()
            if known != {**known, **chosen}:
                self._write({**known, **chosen})

    def _write(self, known: Mapping[str, str]) -> None:
        write_private(self.layout.secrets, json.dumps(known, indent=1, sort_keys=True))

    def _read(self) -> dict[str, str]:
        try:
            found: dict[str, str] = json.loads(self.layout.secrets.read_text(encoding="ascii"))
        except FileNotFoundError:
            return {}
        return found


def write_private(path: Path, text: str) -> None:
    """A file of ASCII text that its owner alone may read, whole or as it was, and on disk afterwards."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def operator_setting(layout: Layout) -> dict[str, str]:
    """The setting that tells accounts its operator's secret."""
    secret = Secrets(layout).get(OPERATOR_SECRET)
    return {OPERATOR_SECRET_SETTING: secret} if secret else {}
