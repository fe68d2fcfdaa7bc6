"""TLS to everything that a service or a command connects to: one context, and its failures in words.

A URL says whether there is TLS (``amqps``, ``rediss``, ``https``, ``postgresql`` with ``ssl=verify-full``);
three settings say whom to trust and who we are. The other side's certificate and host name are always
verified, and nothing falls back to a plain connection. The files are read again once they have changed, so
that a renewed certificate takes no restart: connections that are made from then on have it.
"""

import http.client
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

CA, CERT, KEY = "TLS_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"
_HOST_MISMATCHES: Final = frozenset({62, 64})
_UNTRUSTED: Final = frozenset({2, 18, 19, 20, 21})
_EXPIRED: Final = 10
"""OpenSSL's X509_V_ERR numbers."""
_REFUSALS: Final = {
    "CERTIFICATE_REQUIRED": f"it demands a client certificate: set {CERT} and {KEY}",
    "HANDSHAKE_FAILURE": f"it accepts no such connection; it may demand a client certificate ({CERT}, {KEY})",
    "UNKNOWN_CA": f"it does not trust the authority of the certificate in {CERT}",
    "CERTIFICATE_EXPIRED": f"the certificate in {CERT} has expired",
    "CERTIFICATE_REVOKED": f"the certificate in {CERT} was revoked",
    "BAD_CERTIFICATE": f"it refuses the certificate in {CERT}",
    "UNSUPPORTED_CERTIFICATE": f"it refuses the certificate in {CERT}",
    "CERTIFICATE_UNKNOWN": f"it refuses the certificate in {CERT}",
    "PROTOCOL_VERSION": "it speaks no TLS 1.2 or later",
    "UNSUPPORTED_PROTOCOL": "it speaks no TLS 1.2 or later",
    "WRONG_VERSION_NUMBER": "it does not speak TLS at this port",
    "RECORD_LAYER_FAILURE": "it does not speak TLS at this port",
}
"""By the end of OpenSSL's reason."""
_LOST: Final = (ConnectionResetError, ConnectionAbortedError, BrokenPipeError, EOFError)
"""What a connection that was made ends with; one that was refused never was."""


class UnusableTls(OSError):
    """Raised where a file of the settings cannot be used; the text names the setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files. No ``ca``: the system's authorities. No ``key``: it is in ``certificate`` too."""

    ca: str = ""
    certificate: str = ""
    key: str = ""

    def new_context(self) -> ssl.SSLContext:
        """As the files are now. Raises UnusableTls."""
        context = _trusting(self.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate:
            _present(context, self.certificate, self.key)
        elif self.key:
            raise UnusableTls(f"{KEY}: has no certificate beside it: set {CERT}")
        return context


def _trusting(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except ssl.SSLError as error:
        raise UnusableTls(f"{CA}: {ca_file} holds no certificates in PEM") from error
    except OSError as error:
        raise UnusableTls(_unreadable(CA, ca_file, error)) from error


def _present(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    for name, path in ((CERT, cert_file), (KEY, key_file)):
        try:
            if path:
                os.close(os.open(path, os.O_RDONLY))
        except OSError as error:
            raise UnusableTls(_unreadable(name, path, error)) from error
    named, holder = (KEY, key_file) if key_file else (CERT, cert_file)
    try:
        context.load_cert_chain(cert_file, key_file or None, password=_no_password)
    except _EncryptedKey as error:
        raise UnusableTls(f"{named}: the key in {holder} needs a password; give it without one") from error
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise UnusableTls(
                f"{named}: the key in {holder} does not belong to the certificate in {cert_file}"
            ) from error
        names, files = (f"{CERT}, {KEY}", f"{cert_file}, {key_file}") if key_file else (CERT, cert_file)
        raise UnusableTls(f"{names}: no certificate and its key, in PEM, in {files}") from error


class _EncryptedKey(Exception):
    """Raised in place of the prompt with which OpenSSL would ask for a password."""


def _no_password() -> str:
    raise _EncryptedKey


def _unreadable(name: str, path: str, error: OSError) -> str:
    return f"{name}: {path} cannot be read: {error.strerror or error}"


class _Kept:
    """The context of these files, made anew where one has changed since."""

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._paths = [Path(path) for path in (files.ca, files.certificate, files.key) if path]
        self._seen: list[tuple[int, ...]] = []
        self._context: ssl.SSLContext | None = None

    def now(self) -> ssl.SSLContext:
        seen = [_state_of(path) for path in self._paths]
        if self._context is None or seen != self._seen:
            self._context = self.files.new_context()
            self._seen = seen
        return self._context


def _state_of(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


@cache
def _kept() -> _Kept:
    from shared.settings import TlsSettings, load, refuse_setting  # noqa: PLC0415 - slow, and few commands need it

    settings = load(TlsSettings)
    kept = _Kept(TlsFiles(ca=settings.ca_file, certificate=settings.cert_file, key=settings.key_file))
    try:
        kept.now()
    except UnusableTls as error:
        refuse_setting(str(error))
    return kept


def client_context() -> ssl.SSLContext:
    """What to make the next connection with. Raises UnusableTls where a file cannot be used any more.

    The settings are read at the first call, which ends the process with status 2 where they are wrong.
    """
    return _kept().now()


def hint(error: BaseException | None = None) -> str:
    """To be said of a connection with TLS that was lost before its first answer, for no reason that was told.

    Nothing where the ``error`` does not say that it was made.

    Where a client certificate is wanted and there is none, TLS 1.3 ends the handshake before the server says
    so, and its word is often lost with the connection.
    """
    if error is not None and not any(isinstance(cause, _LOST) for cause in _causes(error)):
        return ""
    own = _kept().files.certificate
    return f"; it may {f'refuse {own}' if own else 'demand a client certificate'} ({CERT})"


def http_connection(url: str, timeout_seconds: float) -> http.client.HTTPConnection:
    """A connection to the host of an http or https URL, not made yet. Raises UnusableTls."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_seconds)
    context = client_context()
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout_seconds, context=context)


def forget() -> None:
    """Lets the settings be read anew, for tests."""
    _kept.cache_clear()


def fault_of(error: BaseException) -> str | None:
    """What a failure of TLS means, where this error is one or was caused by one; else None."""
    for cause in _causes(error):
        if isinstance(cause, UnusableTls):
            return str(cause)
        if isinstance(cause, ssl.SSLError) and hasattr(cause, "library"):  # a library's own has none
            return _refused(cause)
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it, each once: libraries raise errors from one another in a circle."""
    passed: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in passed:
        yield cause
        passed.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def _refused(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _unverified(error)
    reason = error.reason or ""
    words = next((words for end, words in _REFUSALS.items() if reason.endswith(end)), None)
    return f"TLS: {words or reason.lower().replace('_', ' ') or 'no handshake'}"


def _unverified(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _HOST_MISMATCHES:
        return "TLS: its certificate is for another host name"
    if error.verify_code == _EXPIRED:
        return "TLS: its certificate has expired"
    if error.verify_code in _UNTRUSTED:
        trusted = f"of {CA}" if _kept().files.ca else f"that the system trusts (there is no {CA})"
        return f"TLS: its certificate is of no authority {trusted}: {error.verify_message}"
    return f"TLS: its certificate cannot be verified ({error.verify_message})"
