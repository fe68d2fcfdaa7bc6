"""Settings come from the environment and ``.env``, and a wrong one is named in one line."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic_settings import BaseSettings

from api_gateway.settings import GatewaySettings
from dashboard.settings import DashboardSettings
from notifier.settings import NotifierSettings
from order_processor.settings import ProcessorSettings
from shared.http.pages import docs_route
from shared.http.rates import Rate
from shared.settings import EXIT_WRONG_SETTING, CommonSettings, load

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this machine's variables nor its ``.env`` reach a test."""
    for name in list(os.environ):
        if name.startswith(
            ("RABBITMQ_", "REDIS_", "LOG_", "GATEWAY_", "PROCESSOR_", "NOTIFIER_", "ORDER_", "DASHBOARD_")
        ):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def refusal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: type[BaseSettings],
    **variables: str,
) -> str:
    """What is printed when these variables are refused."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        load(settings)
    assert ended.value.code == EXIT_WRONG_SETTING
    return capsys.readouterr().err


def test_the_defaults_are_those_of_the_contract() -> None:
    """A service that is told nothing finds the others on loopback."""
    common, gateway = load(CommonSettings), load(GatewaySettings)
    assert len(common.rabbitmq_urls) == 3
    assert common.redis_url == "redis://127.0.0.1:6379/0"
    assert common.order_retention_seconds == 30 * 86_400
    assert (gateway.host, gateway.port, gateway.ops_port) == ("127.0.0.1", 8080, 9100)
    assert (gateway.claim_ttl_seconds, gateway.outbox_limit) == (86_400, 100_000)
    assert (gateway.max_concurrent_requests, gateway.publish_timeout_seconds) == (512, 2.0)
    processor, notifier = load(ProcessorSettings), load(NotifierSettings)
    assert (processor.ops_port, processor.prefetch, processor.batch_limit) == (9101, 200, 100)
    assert (notifier.ops_port, notifier.send_timeout_seconds, notifier.lease_seconds) == (9102, 10.0, 15.0)


def test_a_list_is_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and a comma at the end do no harm."""
    monkeypatch.setenv("RABBITMQ_URLS", " amqp://u:p@a:5672/ , amqps://u:p@b:5671/,")
    assert load(CommonSettings).rabbitmq_urls == ("amqp://u:p@a:5672/", "amqps://u:p@b:5671/")


def test_a_dotenv_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in the folder is the default of whoever starts the service there."""
    Path(".env").write_text("GATEWAY_PORT=8090\nGATEWAY_OPS_PORT=9190\nUNRELATED=1\n", encoding="utf-8")
    monkeypatch.setenv("GATEWAY_OPS_PORT", "9191")
    settings = load(GatewaySettings)
    assert (settings.port, settings.ops_port) == (8090, 9191)


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files pass variables on that nobody has set."""
    monkeypatch.setenv("REDIS_URL", "")
    assert load(CommonSettings).redis_url == "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RABBITMQ_URLS", "amqp://u:p@only-one/"),
        ("RABBITMQ_URLS", "amqp://u:p@a/,http://u:p@b/"),
        ("RABBITMQ_URLS", "amqp://u:p@a/,amqp:///"),
        ("RABBITMQ_URLS", "amqp://u:p@a:port/,amqp://u:p@b/"),
        ("RABBITMQ_URLS", "amqp://u:p@a:99999/,amqp://u:p@b/"),
        ("RABBITMQ_MANAGEMENT_URLS", "amqp://u:p@a/"),
        ("REDIS_URL", "localhost:6379"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "key"),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5"),
        ("RABBITMQ_URLS", "amqp://u:p@a/,amqp://u:p%zz@b/"),
        ("RABBITMQ_URLS", "amqp://u:p@a/?heartbeet=3,amqp://u:p@b/"),
        ("RABBITMQ_URLS", "amqp://u:p@[a/,amqp://u:p@b/"),
        ("RABBITMQ_URLS", "amqps://u:p@a/?no_verify_ssl=1,amqp://u:p@b/"),
        ("RABBITMQ_MANAGEMENT_URLS", "http://u:p@a:0"),
        ("RABBITMQ_MANAGEMENT_URLS", "http://u:p@a/?columns=name"),
        ("RABBITMQ_MANAGEMENT_URLS", "http://u:p%ff@a/"),
        ("REDIS_URL", "redis://h:6379x/0"),
        ("REDIS_URL", "redis://h/abc"),
        ("REDIS_URL", "redis://h/1/2"),
        ("REDIS_URL", "redis://h/99"),
        ("REDIS_URL", "redis://h/-1"),
        ("REDIS_URL", "redis://h/\u0663"),
        ("REDIS_URL", "redis://h/0?socket_timeot=3"),
        ("REDIS_URL", "redis://h/0?socket_timeout=3"),
        ("REDIS_URL", "redis://h/0?protocol=4"),
        ("REDIS_URL", "redis://h/0?db=3"),
        ("REDIS_URL", "rediss://h/0?ssl_cert_reqs=none"),
        ("CACHE_URL", "rediss://h/0?ssl_check_hostname=no"),
        ("DATABASE_URL", "postgresql://u:p@h/ledger?ssl=prefer"),
        ("DATABASE_URL", "postgresql://u:p@h/ledger?ssl=require"),
        ("REDIS_URL", "redis://:p%2@h/0"),
        ("REDIS_URL", "redis://:a#b@h/0"),
        ("REDIS_URL", "redis://h ost/0"),
        ("REDIS_URL", "redis://h/\t0"),
        ("REDIS_URL", "unix://h/run/redis.sock"),
        ("REDIS_URL", "unix:///run/redis.sock?db=x"),
        ("ORDER_RETENTION_SECONDS", "0"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    """Whoever mistyped it sees which one, without a traceback."""
    said = refusal(monkeypatch, capsys, CommonSettings, **{variable: value})
    assert said.startswith(f"{variable}: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "http://u:p@h",
        "http://u@h",
        "http://h/?",
        "http://h/?a=b",
        "http://h\\@evil",
        "//h",
    ],
)
def test_an_address_for_browsers_is_a_plain_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    """It becomes a link on a page that everyone may read."""
    said = refusal(monkeypatch, capsys, DashboardSettings, DASHBOARD_GATEWAY_URL=url)
    assert said.startswith("DASHBOARD_GATEWAY_URL: ")
    assert (said.count("\n"), url in said) == (1, False)


@pytest.mark.parametrize("url", ["https://shop.example/api/", "http://[::1]:8080", "http://h/{{script}}"])
async def test_an_address_for_browsers_is_linked_as_it_is(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """And nothing of the page is put into it."""
    monkeypatch.setenv("DASHBOARD_GATEWAY_URL", url)
    address = f"{load(DashboardSettings).gateway_url}/docs"
    page: Any = await docs_route("Title", {"the gateway": address}).handler(cast(Any, None))
    assert f'href="{url.rstrip("/")}/docs"' in page.text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REDIS_URL", "redis://h"),
        ("REDIS_URL", "redis://h:6379/15?protocol=3"),
        ("REDIS_URL", "rediss://:p%40%2F%C3%BC@h/1?protocol=3"),
        ("DATABASE_URL", "postgresql://u:p@h/ledger?ssl=verify-full"),
        ("REDIS_URL", "unix:///run/redis.sock?db=2"),
        ("RABBITMQ_URLS", "amqp://u:p%2Fq@a/%2Fodd,amqps://u:p\u00fc@b:5671/shop?auth=external"),
        ("RABBITMQ_MANAGEMENT_URLS", "https://u:p@a/rabbit,http://[::1]:15672"),
    ],
)
def test_a_url_that_means_one_thing_is_taken(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """Odd passwords, virtual hosts, TLS, sockets and prefixes are nobody's mistake."""
    monkeypatch.setenv(variable, value)
    load(CommonSettings)


def test_a_dotenv_file_in_another_encoding_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It is named, without a traceback."""
    Path(".env").write_bytes(b"LOG_LEVEL=INFO # f\xfcr den Betrieb\n")
    with pytest.raises(SystemExit) as ended:
        load(CommonSettings)
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n"), said.startswith(".env ")) == (2, 1, True)


@pytest.mark.parametrize(
    ("settings", "variable", "value"),
    [
        (ProcessorSettings, "PROCESSOR_PREFETCH", "65536"),
        (GatewaySettings, "GATEWAY_CLAIM_TTL_SECONDS", "1000000001"),
    ],
)
def test_a_count_that_no_protocol_carries_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: type[BaseSettings],
    variable: str,
    value: str,
) -> None:
    """Better than a channel that the broker closes, or an expiry that Redis refuses, for every order."""
    assert refusal(monkeypatch, capsys, settings, **{variable: value}).startswith(f"{variable}: ")


def test_several_wrong_values_are_a_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They can all be put right at once."""
    said = refusal(
        monkeypatch, capsys, GatewaySettings, GATEWAY_PORT="70000", GATEWAY_OUTBOX_LIMIT="many"
    ).splitlines()
    assert sorted(line.partition(":")[0] for line in said) == ["GATEWAY_OUTBOX_LIMIT", "GATEWAY_PORT"]


def test_a_lease_shorter_than_the_sending_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another notifier would send what this one is still sending."""
    said = refusal(monkeypatch, capsys, NotifierSettings, NOTIFIER_LEASE_SECONDS="5")
    assert said.startswith("NOTIFIER_LEASE_SECONDS ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("RABBITMQ_URLS", "amqp://guest:guest@127.0.0.1/,amqp://guest:guest@broker.example/"),
        ("RABBITMQ_URLS", "amqp://127.0.0.1/,amqp://broker.example/"),
        ("RABBITMQ_MANAGEMENT_URLS", "http://guest:guest@10.0.0.7:15672"),
    ],
    ids=["named", "by leaving it out", "management"],
)
def test_the_default_password_is_refused_off_loopback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    """What everybody knows protects nothing that others can reach."""
    said = refusal(monkeypatch, capsys, CommonSettings, **{variable: value})
    assert "guest" in said


def test_a_refusal_does_not_print_passwords(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Logs of failed starts are read by many."""
    said = refusal(monkeypatch, capsys, CommonSettings, RABBITMQ_URLS="amqp://u:s3cret@a:port/,http://b/")
    assert "s3cret" not in said


@pytest.mark.parametrize("host", ["localhost", "127.0.0.9", "[::1]"])
def test_the_default_password_will_do_on_loopback(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """A first look at the system needs no secrets."""
    monkeypatch.setenv("RABBITMQ_URLS", f"amqp://guest:guest@{host}:5672/,amqp://guest:guest@{host}:5673/")
    assert len(load(CommonSettings).rabbitmq_urls) == 2


def test_a_service_with_a_wrong_setting_ends_at_once_with_that_line(tmp_path: Path) -> None:
    """The real process: status 2, one line on stderr, nothing on stdout."""
    ended = subprocess.run(
        [sys.executable, "-m", "order_processor"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PROCESSOR_PREFETCH": "none"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == EXIT_WRONG_SETTING
    assert ended.stderr.startswith("PROCESSOR_PREFETCH: ")
    assert ended.stderr.count("\n") == 1
    assert ended.stdout == ""


def test_off_loopback_the_gateway_must_be_told_who_may_ask(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A request without a token would be an operator's, by nobody's decision."""
    told = refusal(monkeypatch, capsys, GatewaySettings, GATEWAY_HOST="0.0.0.0")  # noqa: S104 - refused
    assert told.startswith("GATEWAY_AUTH must be set")
    for mode in ("optional", "required"):
        monkeypatch.setenv("GATEWAY_AUTH", mode)
        assert load(GatewaySettings).auth_mode == mode


def test_on_loopback_a_token_is_optional() -> None:
    """Unless it is said otherwise. Then nothing is counted."""
    assert load(GatewaySettings).auth_mode == "optional"
    assert load(GatewaySettings).rate() is None


def test_where_a_token_is_required_requests_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty a second and bursts of a hundred, unless another number is set."""
    monkeypatch.setenv("GATEWAY_AUTH", "required")
    assert load(GatewaySettings).rate() == Rate(name="requests", burst=100, seconds=2.0)
    monkeypatch.setenv("GATEWAY_REQUESTS_PER_SECOND", "7")
    assert load(GatewaySettings).rate() == Rate(name="requests", burst=14, seconds=2.0)


@pytest.mark.parametrize("origin", ["*", "shop.example.com", "https://shop.example.com/", "null", "https://"])
def test_what_is_no_origin_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], origin: str
) -> None:
    """It would never be equal to what a browser sends, or mean all of them."""
    told = refusal(monkeypatch, capsys, GatewaySettings, GATEWAY_CORS_ORIGINS=origin)
    assert told.startswith("GATEWAY_CORS_ORIGINS: must be origins")


def test_another_way_to_authorize_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the variable's name."""
    assert "GATEWAY_AUTH" in refusal(monkeypatch, capsys, GatewaySettings, GATEWAY_AUTH="off")
