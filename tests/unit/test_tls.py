"""The settings of TLS are checked at the start, their files are read again, and failures name them."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiormq.exceptions import AMQPConnectionError

from orderctl.gateway_client import GatewayAddress, GatewayError, by_hand, connect
from shared import tls
from shared.errors import ServiceUnavailable, StoreUnavailable
from shared.http.client import open_client
from shared.messaging.rabbitmq.management import ManagementUnavailable, ask_management
from shared.service.program import Program
from shared.settings import EXIT_WRONG_SETTING, TlsSettings
from shared.tls import TlsFiles, UnusableTls, client_context, fault_of
from tests.harness.authority import Authority, CertificateFiles, trusting
from tests.harness.http_gateway import gateway, problem_of
from tests.harness.stores import free_port


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom the servers have their certificates from."""
    return Authority(tmp_path / "authority")


def unreadable(folder: Path) -> Path:
    """A folder in the place of a file: nobody can read it, root neither."""
    place = folder / "folder.pem"
    place.mkdir()
    return place


def mistaken(folder: Path, name: str) -> dict[str, Path]:
    """Settings with one mistake in them."""
    authority = Authority(folder / "authority")
    one, other = authority.issue("one"), authority.issue("other")
    text = folder / "text.pem"
    text.write_text("no PEM")
    return {
        "missing CA": {"TLS_CA_FILE": folder / "absent.pem"},
        "folder for a CA": {"TLS_CA_FILE": unreadable(folder)},
        "text for a CA": {"TLS_CA_FILE": text},
        "missing certificate": {"TLS_CERT_FILE": folder / "absent.pem", "TLS_KEY_FILE": one.key},
        "missing key": {"TLS_CERT_FILE": one.certificate, "TLS_KEY_FILE": folder / "absent.key"},
        "key of another": {"TLS_CERT_FILE": one.certificate, "TLS_KEY_FILE": other.key},
        "certificate without key": {"TLS_CERT_FILE": one.certificate},
        "key without certificate": {"TLS_KEY_FILE": one.key},
        "text for a key": {"TLS_CERT_FILE": one.certificate, "TLS_KEY_FILE": text},
    }[name]


@pytest.mark.parametrize(
    ("mistake", "setting", "reason"),
    [
        ("missing CA", "TLS_CA_FILE", "absent.pem cannot be read: No such file"),
        ("folder for a CA", "TLS_CA_FILE", "folder.pem"),
        ("text for a CA", "TLS_CA_FILE", "text.pem holds no certificates in PEM"),
        ("missing certificate", "TLS_CERT_FILE", "absent.pem cannot be read: No such file"),
        ("missing key", "TLS_KEY_FILE", "absent.key cannot be read: No such file"),
        ("key of another", "TLS_KEY_FILE", "does not belong to the certificate"),
        ("certificate without key", "TLS_CERT_FILE", "no certificate and its key"),
        ("key without certificate", "TLS_KEY_FILE", "has no certificate beside it"),
        ("text for a key", "TLS_CERT_FILE, TLS_KEY_FILE", "no certificate and its key"),
    ],
)
def test_a_service_does_not_start_with_a_file_that_cannot_be_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mistake: str, setting: str, reason: str
) -> None:
    """One line names the setting, the file and what is wrong; the status is that of a wrong setting."""

    async def never(*_: Any) -> None:
        raise AssertionError("it started")

    program = Program(name="service", settings=TlsSettings, run=never)
    with trusting(named=mistaken(tmp_path, mistake)), pytest.raises(SystemExit) as ended:
        program.main()
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (EXIT_WRONG_SETTING, 1)
    assert said.startswith(f"{setting}: ")
    assert reason in said


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_key_that_needs_a_password_is_refused_without_a_prompt(authority: Authority) -> None:
    """A service has no terminal at which OpenSSL could ask."""
    files = authority.issue("locked")
    locked = ("openssl", "pkcs8", "-topk8", "-in", files.key, "-passout", "pass:secret")
    files.key.write_bytes(subprocess.run(locked, capture_output=True, check=True).stdout)
    with pytest.raises(UnusableTls, match=r"TLS_KEY_FILE: .* needs a password"):
        TlsFiles(certificate=str(files.certificate), key=str(files.key)).new_context()


def test_the_other_side_is_always_verified(authority: Authority) -> None:
    """Certificate, host name, and a version that is not broken."""
    with trusting(authority.file):
        context = client_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_a_file_is_read_again_once_it_has_changed(authority: Authority) -> None:
    """A renewed certificate takes no restart; a lost one is said, and mended by putting it back."""
    client = authority.issue("client")
    with trusting(authority.file, client):
        first = client_context()
        assert client_context() is first
        client.key.unlink()
        with pytest.raises(UnusableTls, match=r"TLS_KEY_FILE: .* cannot be read"):
            client_context()
        authority.issue("client")
        assert client_context() is not first


def test_errors_that_were_raised_from_one_another_in_a_circle_are_looked_at_once() -> None:
    """Libraries raise an error from the one that was raised from it."""
    one, other = OSError("one"), OSError("other")
    one.__cause__, other.__cause__ = other, one
    assert fault_of(one) is None


@asynccontextmanager
async def served(shown: CertificateFiles, demanded: Path | None = None) -> AsyncIterator[str]:
    """A service over https that shows this certificate, and may demand one of its clients."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=demanded)
    context.load_cert_chain(shown.certificate, shown.key)
    if demanded:
        context.verify_mode = ssl.CERT_REQUIRED

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def by_service_client(url: str) -> Any:
    """As the gateway asks the services behind it."""
    async with open_client("catalogue", url) as client:
        return await client.json("/products")


async def by_command(url: str) -> Any:
    """As `orderctl` asks a gateway."""
    return await asyncio.to_thread(lambda: asyncio.run(by_hand(GatewayAddress(url=url)).get("/")))


async def by_load(url: str) -> Any:
    """As `orderctl load` does."""
    async with connect(GatewayAddress(url=url)) as client:
        client._most_attempts = 1
        return await client.get("/")


async def by_management(url: str) -> Any:
    """As the dashboard asks the brokers."""
    return await asyncio.to_thread(ask_management, url, "/api/overview")


EVERY_CLIENT = pytest.mark.parametrize("ask", [by_service_client, by_command, by_load, by_management])


@EVERY_CLIENT
async def test_https_is_asked_with_a_client_certificate(
    authority: Authority, ask: Callable[[str], Any], no_pauses: None
) -> None:
    """Whoever asks: services, commands, and the look at the brokers."""
    client = authority.issue("client", "client")
    async with served(authority.issue("server"), demanded=authority.file) as url:
        with trusting(authority.file, client):
            assert await ask(url) == {"status": "ok"}


@EVERY_CLIENT
@pytest.mark.parametrize(
    ("hosts", "is_expired", "knows", "reason"),
    [
        ((), False, False, "of no authority of TLS_CA_FILE"),
        (("elsewhere.example",), False, True, "for another host name"),
        ((), True, True, "its certificate has expired"),
    ],
    ids=["another authority", "another host", "expired"],
)
async def test_a_server_that_is_not_who_it_should_be_is_named_with_the_reason(
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ask: Callable[[str], Any],
    hosts: tuple[str, ...],
    is_expired: bool,
    knows: bool,
    reason: str,
) -> None:
    """And never asked anything."""
    monkeypatch.setattr("orderctl.gateway_client.MOST_ATTEMPTS_BY_HAND", 1)
    trusted = authority if knows else Authority(tmp_path / "other")
    async with served(authority.issue("server", *hosts, expired=is_expired)) as url:
        with (
            trusting(trusted.file),
            pytest.raises((ServiceUnavailable, GatewayError, ManagementUnavailable), match=reason),
        ):
            await ask(url)


async def test_a_server_that_demands_a_client_certificate_says_which_setting_lacks(
    authority: Authority,
) -> None:
    """TLS 1.3 tells it after the handshake, if at all."""
    async with served(authority.issue("server"), demanded=authority.file) as url:
        with trusting(authority.file), pytest.raises(ServiceUnavailable, match="TLS_CERT_FILE"):
            await by_service_client(url)


async def test_a_server_that_is_away_is_not_said_to_want_a_certificate(authority: Authority) -> None:
    """What never answered demands nothing."""
    port = free_port()
    with trusting(authority.file):
        with pytest.raises(ServiceUnavailable, match=r"connection refused$"):
            await by_service_client(f"https://127.0.0.1:{port}")
        with pytest.raises(ManagementUnavailable, match=r"connection refused$"):
            await by_management(f"https://127.0.0.1:{port}")
        away, lost = AMQPConnectionError("away"), AMQPConnectionError("lost")
        away.__cause__, lost.__cause__ = ConnectionRefusedError(), ConnectionResetError()
        assert tls.hint(away) == ""
        assert "TLS_CERT_FILE" in tls.hint(lost)


async def test_clients_of_the_gateway_do_not_learn_where_its_files_are() -> None:
    """The settings' names do no harm; the folders of this machine are nobody's business."""
    async with gateway() as served:
        served.orders.fault = StoreUnavailable(
            "Redis: connecting to 10.0.0.7:6379: TLS_KEY_FILE: /etc/keys/gateway.key cannot be read"
        )
        answer = await served.send("GET", "/orders/o1")
        told = (await problem_of(answer))["detail"]
    assert answer.status == 503
    assert "/etc" not in told
    assert "10.0.0.7" not in told
    assert "TLS_KEY_FILE" in told
