"""A certificate authority of the tests' own, its files, and the settings that name them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest
import trustme

from shared import tls

HOSTS = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """A certificate with its key, in PEM. Servers that take no root read the key all the same."""

    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder, in which its own is ``ca.pem``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.file = folder / "ca.pem"
        self._ca = trustme.CA()
        self._ca.cert_pem.write_to_path(str(self.file))

    def issue(self, name: str, *hosts: str, expired: bool = False) -> CertificateFiles:
        """A certificate for these host names; ``expired`` an hour ago. The name's former one is replaced."""
        over = datetime.now(UTC) - timedelta(hours=1) if expired else None
        issued = self._ca.issue_cert(*(hosts or HOSTS), not_after=over)
        files = CertificateFiles(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        issued.private_key_pem.write_to_path(str(files.key))
        files.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        return files


@contextmanager
def trusting(
    ca: Path | str = "",
    client: CertificateFiles | None = None,
    named: Mapping[str, Path] = MappingProxyType({}),
) -> Iterator[None]:
    """The settings of TLS for the block, as a process started with them would read them."""
    files: dict[str, Path | str] = {"TLS_CA_FILE": ca}
    if client is not None:
        files |= {"TLS_CERT_FILE": client.certificate, "TLS_KEY_FILE": client.key}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**files, **named}.items():
            patch.setenv(name, str(value))
        tls.forget()
        try:
            yield
        finally:
            tls.forget()
