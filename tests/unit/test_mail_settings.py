"""A wrong mail setting is found at start, and a password leaves the machine encrypted or not at all."""

import os
from pathlib import Path

import pytest

from notifier.settings import NotifierSettings
from shared.settings import load

SMTP = {"SENDER": "smtp", "MAIL_FROM": "Shop <orders@example.com>", "SMTP_HOST": "mail.example.com"}
LOGIN = {"SMTP_USERNAME": "shop", "SMTP_PASSWORD": "a secret"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither this machine's variables nor its ``.env`` reach a test."""
    for name in list(os.environ):
        if name.startswith("NOTIFIER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def read(monkeypatch: pytest.MonkeyPatch, **variables: str) -> NotifierSettings:
    """The settings under these variables, whose prefix is left out."""
    for name, value in variables.items():
        monkeypatch.setenv(f"NOTIFIER_{name}", value)
    return load(NotifierSettings)


def test_without_settings_nothing_is_mailed(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where mail is turned on, TLS is demanded."""
    own = read(monkeypatch)
    assert (own.sender, own.smtp_tls, own.smtp_port) == ("log", "starttls", 587)


def test_letters_come_in_smaller_batches_unless_their_number_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """One ack waits for sixteen letters and not for a hundred."""
    assert read(monkeypatch).batch_limit == 100
    assert read(monkeypatch, **SMTP).batch_limit == 16
    assert read(monkeypatch, **SMTP, BATCH_LIMIT="50").batch_limit == 50


def test_the_password_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a log of the settings nor in a traceback."""
    own = read(monkeypatch, **SMTP, **LOGIN)
    assert own.smtp_password.get_secret_value() == "a secret"
    assert "a secret" not in f"{own} {own!r} {own.model_dump_json()}"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SENDER": "pigeon"}, "NOTIFIER_SENDER"),
        ({"SENDER": "smtp"}, "NOTIFIER_MAIL_FROM"),
        ({**SMTP, "MAIL_FROM": "Shop"}, "NOTIFIER_MAIL_FROM"),
        ({**SMTP, "MAIL_FROM": "läden@example.com"}, "NOTIFIER_MAIL_FROM"),
        ({**SMTP, "SMTP_TLS": "maybe"}, "NOTIFIER_SMTP_TLS"),
        ({**SMTP, "SMTP_CA_FILE": "nowhere.pem"}, "NOTIFIER_SMTP_CA_FILE"),
        ({**SMTP, "SMTP_USERNAME": "shop"}, "NOTIFIER_SMTP_PASSWORD"),
        ({**SMTP, "SMTP_PASSWORD": "a secret"}, "NOTIFIER_SMTP_USERNAME"),
        ({**SMTP, **LOGIN, "SMTP_TLS": "off"}, "NOTIFIER_SMTP_TLS"),
        ({**SMTP, **LOGIN, "SMTP_TLS": "if_offered"}, "NOTIFIER_SMTP_TLS"),
        ({**SMTP, "CONFIRM_TIMEOUT_SECONDS": "10"}, "NOTIFIER_CONFIRM_TIMEOUT_SECONDS"),
        ({**SMTP, "SEND_TIMEOUT_SECONDS": "300"}, "NOTIFIER_SEND_TIMEOUT_SECONDS"),
        ({"LETTERS_PER_HOUR": "0"}, "NOTIFIER_LETTERS_PER_HOUR"),
        ({"LEASE_SECONDS": "5"}, "NOTIFIER_LEASE_SECONDS"),
        ({"STORE_TIMEOUT_SECONDS": "3"}, "NOTIFIER_STORE_TIMEOUT_SECONDS"),
        ({"UNCONFIRMED_AT_ONCE": "0"}, "NOTIFIER_UNCONFIRMED_AT_ONCE"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variables: dict[str, str],
    named: str,
) -> None:
    """Whoever starts it sees what to change, and no password."""
    with pytest.raises(SystemExit):
        read(monkeypatch, **variables)
    said = capsys.readouterr().err
    assert named in said
    assert said.count("\n") == 1
    assert "a secret" not in said


@pytest.mark.parametrize(
    "variables",
    [
        {**SMTP, **LOGIN},
        {**SMTP, **LOGIN, "SMTP_TLS": "implicit", "SMTP_PORT": "465"},
        {**SMTP, **LOGIN, "SMTP_TLS": "off", "SMTP_HOST": "127.0.0.1"},
        {**SMTP, "SMTP_TLS": "off"},
    ],
    ids=["starttls", "implicit", "on this machine", "no password"],
)
def test_what_keeps_the_password_is_taken(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    """Encrypted, or not over any network, or there is none."""
    assert read(monkeypatch, **variables).sender == "smtp"
