"""The SMTP sender against a real mail server: what arrives, and whose fault it is when nothing does."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from notifier.ports import OutcomeUnknown, Sender
from notifier.senders.addressed import AddressedSender
from notifier.senders.log import LogSender
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from shared.service.lifecycle import running
from tests.harness.mailing import CONNECTIONS, MAIL_FROM, Mailing, handed_in, mailing_to, told
from tests.harness.smtp_sink import LOOPBACK, Fault, Security, SmtpSink, Stage, smtp_sink
from tests.harness.waiting import wait_until

LOGIN = ("shop", "a secret ümlaut")


@pytest.fixture
async def sink() -> AsyncIterator[SmtpSink]:
    """A server without TLS that behaves."""
    async with smtp_sink() as serving:
        yield serving


@pytest.fixture
async def mailing(sink: SmtpSink) -> AsyncIterator[Mailing]:
    """A sender to it."""
    under_test = mailing_to(sink)
    async with running(under_test.connections.run()):
        yield under_test


async def send_all(mailing: Mailing, *order_ids: str) -> None:
    """Sends them all at once."""
    await asyncio.gather(*(handed_in(mailing, told(order_id)) for order_id in order_ids))


# --- what arrives -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["log", "smtp", "addressed"])
async def test_every_sender_names_its_way_and_takes_a_notification(mailing: Mailing, kind: str) -> None:
    """The channel is known before the sending, so that it can be recorded with the claim."""
    log = LogSender()
    senders: dict[str, tuple[Sender, str]] = {
        "log": (log, "log"),
        "smtp": (mailing.sender, "smtp"),
        "addressed": (AddressedSender(mailing.sender, otherwise=log), "smtp"),
    }
    sender, channel = senders[kind]
    assert sender.channel_for(told()) == channel
    handed = await sender.send(told())
    assert (handed is not None) == (channel == "smtp")
    if handed is not None:
        await handed.answer


async def test_a_notification_arrives_once_at_its_recipient(sink: SmtpSink, mailing: Mailing) -> None:
    """Envelope and headers name the same two addresses, and the id is the event's."""
    await handed_in(mailing, told("order1", "ann@example.org"))
    (letter,) = sink.letters
    assert (letter.sender, letter.recipient) == (MAIL_FROM.address, "ann@example.org")
    assert letter.message["From"] == "The Shop <orders@shop.example>"
    assert letter.message["To"] == "ann@example.org"
    assert letter.message["Message-ID"] == "<order1/order.created.v1@shop.example>"
    assert sink.told == {"order1:order.created.v1": 1}


async def test_a_repetition_can_be_told_by_its_id(sink: SmtpSink, mailing: Mailing) -> None:
    """Whoever crashed after the sending sends the same Message-ID again."""
    await handed_in(mailing, told())
    await handed_in(mailing, told())
    first, second = (letter.message["Message-ID"] for letter in sink.letters)
    assert first == second


async def test_orders_without_an_address_go_another_way(sink: SmtpSink, mailing: Mailing) -> None:
    """There is nobody to mail, and the record says so."""
    sender = AddressedSender(mailing.sender, otherwise=LogSender())
    silent = told(email=None)
    assert sender.channel_for(silent) == "log"
    await sender.send(silent)
    assert sink.connections == 0


async def test_letters_beyond_ascii_reach_addresses_beyond_ascii(sink: SmtpSink, mailing: Mailing) -> None:
    """SMTPUTF8 where the server has it; the domain travels in its ASCII form."""
    await handed_in(mailing, told(email="jürgen@exämple.org"))
    assert sink.letters[0].recipient == "jürgen@xn--exmple-cua.org"
    assert sink.letters[0].message["To"] == "jürgen@xn--exmple-cua.org"


async def test_a_server_without_smtputf8_refuses_one_recipient_alone() -> None:
    """A name beyond ASCII cannot be sent to; a domain beyond ASCII can."""
    async with smtp_sink(Security(smtputf8=False)) as sink:
        mailing = mailing_to(sink)
        with pytest.raises(PermanentError, match="ASCII"):
            await handed_in(mailing, told(email="jürgen@example.org"))
        await handed_in(mailing, told(email="ann@exämple.org"))
        assert [letter.recipient for letter in sink.letters] == ["ann@xn--exmple-cua.org"]


@pytest.mark.parametrize("email", [None, "a<b@example.org", "ann@exam_ple.org", '"ann"@example.org'])
async def test_what_is_no_address_is_told_without_asking_the_server(
    sink: SmtpSink, mailing: Mailing, email: str | None
) -> None:
    """Nothing hostile gets as far as a command."""
    with pytest.raises(PermanentError):
        await handed_in(mailing, told(email=email))
    assert sink.connections == 0


# --- connections ------------------------------------------------------------------------------------------


async def test_connections_are_used_again(sink: SmtpSink, mailing: Mailing) -> None:
    """One after the other over one connection; at once over as many as there are letters."""
    for n in range(10):
        await handed_in(mailing, told(f"order{n}"))
    assert sink.connections == 1
    await send_all(mailing, *(f"order{n}" for n in range(10, 18)))
    assert sink.connections == 8
    await wait_until(lambda: sink.open_connections == CONNECTIONS, what="the surplus to be closed")
    assert set(sink.told.values()) == {1}
    assert len(sink.told) == 18


async def test_a_connection_that_died_while_unused_costs_nothing(sink: SmtpSink, mailing: Mailing) -> None:
    """Servers close idle connections whenever they like."""
    await handed_in(mailing, told("order1"))
    sink.drop()
    await handed_in(mailing, told("order2"))
    assert (sink.connections, len(sink.letters)) == (2, 2)


async def test_a_kept_connection_is_not_believed(sink: SmtpSink, mailing: Mailing) -> None:
    """A server that has had enough of one connection gets another."""
    await handed_in(mailing, told("order1"))
    with sink.fault(Fault(at="MAIL", answer="421 4.4.2 too many letters", times=1)):
        await handed_in(mailing, told("order2"))
    assert (sink.connections, len(sink.letters)) == (2, 2)
    assert mailing.connections.unready_reason() is None


async def test_unused_connections_are_left_with_a_goodbye(sink: SmtpSink) -> None:
    """After a while, and all of them in the end."""
    mailing = mailing_to(sink, idle_seconds=0.05)
    async with running(mailing.connections.run()):
        await send_all(mailing, "order1", "order2")
        await wait_until(lambda: sink.open_connections == 0, what="idle connections to be closed")
    lasting = mailing_to(sink)
    async with running(lasting.connections.run()):
        await send_all(lasting, "order3", "order4")
        assert sink.open_connections == 2
    await wait_until(lambda: sink.open_connections == 0, what="all connections to be closed")
    assert sink.goodbyes == 4


# --- one message's fate -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "answer", "kind"),
    [
        ("RCPT", "550 5.1.1 no such user", PermanentError),
        ("RCPT", "501 5.1.3 bad address", PermanentError),
        ("DATA", "554 5.6.0 not this", PermanentError),
        ("RCPT", "450 4.2.0 greylisted", RetryableError),
        ("RCPT", "452 4.2.2 mailbox full", RetryableError),
        ("DATA", "451 4.3.0 later", RetryableError),
        ("RCPT", "421 4.7.0 not him, not now", RetryableError),
        ("DATA", "421 4.7.0 not this, not now", RetryableError),
    ],
)
async def test_what_the_server_says_of_one_recipient_is_that_messages_fate(
    sink: SmtpSink, mailing: Mailing, stage: Stage, answer: str, kind: type[Exception]
) -> None:
    """5xx is final, 4xx is not; the answer is told on, and the others get their letters."""
    with sink.fault(Fault(at=stage, answer=answer, recipient="bob@example.org")):
        with pytest.raises(kind, match=answer):
            await handed_in(mailing, told(email="bob@example.org"))
        await handed_in(mailing, told("order2"))
    assert mailing.connections.unready_reason() is None
    assert sink.told == {"order2:order.created.v1": 1}


async def test_a_refusal_leaves_the_connection_good(sink: SmtpSink, mailing: Mailing) -> None:
    """The next transaction begins where the refused one ended."""
    with sink.fault(Fault(at="RCPT", answer="550 5.1.1 no such user", recipient="bob@example.org")):
        for _ in range(3):
            with pytest.raises(PermanentError):
                await handed_in(mailing, told(email="bob@example.org"))
            await handed_in(mailing, told())
    assert sink.connections == 1


async def test_hanging_up_on_one_recipient_is_no_outage(sink: SmtpSink, mailing: Mailing) -> None:
    """The server takes the next transaction, so it was about the message."""
    with sink.fault(Fault(at="RCPT", hang_up=True, recipient="bob@example.org")):
        with pytest.raises(RetryableError, match="hung up"):
            await handed_in(mailing, told(email="bob@example.org"))
        await handed_in(mailing, told("order2"))
    assert mailing.connections.unready_reason() is None


@pytest.mark.parametrize("kept", [True, False], ids=["taken", "not taken"])
async def test_hanging_up_on_a_whole_letter_says_nothing_of_it(
    sink: SmtpSink, mailing: Mailing, kept: bool
) -> None:
    """It may have been taken or not, and the others get their letters."""
    with (
        sink.fault(Fault(at="DATA", hang_up=True, kept=kept, recipient="bob@example.org")),
        pytest.raises(OutcomeUnknown),
    ):
        await handed_in(mailing, told(email="bob@example.org"))
    await handed_in(mailing, told("order2"))
    assert len(sink.letters) == 1 + kept
    assert mailing.connections.unready_reason() is None


async def test_an_answer_may_take_longer_than_any_other_step(sink: SmtpSink) -> None:
    """Minutes, on a connection of its own, while other letters go on over others (RFC 5321, 4.5.3.2.6)."""
    mailing = mailing_to(sink, step_seconds=0.2, confirm_seconds=30.0)
    with sink.fault(Fault(at="DATA", delay_seconds=0.5, recipient="bob@example.org")):
        slow = await mailing.sender.send(told(email="bob@example.org"))
        assert slow.message_id == "<order1/order.created.v1@shop.example>"
        await handed_in(mailing, told("order2"))
        assert not slow.answer.done()
        await slow.answer
    assert [letter.recipient for letter in sink.letters] == ["ann@example.org", "bob@example.org"]
    assert sink.connections == 2


async def test_an_answer_that_never_comes_is_unknown(sink: SmtpSink) -> None:
    """In the end nothing is known of the letter, and its connection is not used again."""
    mailing = mailing_to(sink, confirm_seconds=0.2)
    with sink.fault(Fault(at="DATA", hang=True, kept=True, times=1)), pytest.raises(OutcomeUnknown):
        await handed_in(mailing, told())
    await handed_in(mailing, told("order2"))
    assert sink.connections == 2


@pytest.mark.parametrize("stage", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA command"])
async def test_a_server_that_is_slow_at_a_step_is_waited_for(sink: SmtpSink, stage: Stage) -> None:
    """Each step has its own time, so a server that is slow at all of them still gets the letter."""
    mailing = mailing_to(sink, step_seconds=1.0)
    with sink.fault(Fault(at=stage, delay_seconds=0.3)):
        await handed_in(mailing, told())
    assert len(sink.letters) == 1


@pytest.mark.parametrize("stage", ["RCPT", "DATA command"])
async def test_a_step_that_is_not_answered_leaves_no_half_transaction(sink: SmtpSink, stage: Stage) -> None:
    """The connection is not used again, no letter was sent for sure, and the next one is whole."""
    mailing = mailing_to(sink, step_seconds=0.2)
    with sink.fault(Fault(at=stage, hang=True, recipient="bob@example.org")):
        with pytest.raises(RetryableError):
            await handed_in(mailing, told(email="bob@example.org"))
        await handed_in(mailing, told("order2"))
    assert mailing.connections.unready_reason() is None
    assert [letter.recipient for letter in sink.letters] == ["ann@example.org"]


# --- everybody's fate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(at="CONNECT", answer="421 4.3.2 shutting down"),
        Fault(at="CONNECT", answer="554 5.7.1 not you"),
        Fault(at="CONNECT", hang=True),
        Fault(at="CONNECT", hang_up=True),
        Fault(at="MAIL", answer="421 4.3.2 shutting down"),
        Fault(at="MAIL", answer="452 4.3.1 disk full"),
        Fault(at="MAIL", answer="530 5.7.0 log in first"),
        Fault(at="MAIL", answer="550 5.7.1 not from this address"),
        Fault(at="MAIL", hang=True),
        Fault(at="RCPT", answer="530 5.7.0 log in first"),
    ],
    ids=lambda fault: f"{fault.at} {fault.answer[:3] or ('hangs' if fault.hang else 'hangs up')}",
)
@pytest.mark.parametrize("connected", [False, True], ids=["new", "connected"])
async def test_what_would_meet_everybody_is_an_outage(sink: SmtpSink, fault: Fault, connected: bool) -> None:
    """No message is at fault; readiness says why, and forgets it once a transaction begins again."""
    mailing = mailing_to(sink, step_seconds=1.0 if fault.hang else 10.0)
    if connected:
        await handed_in(mailing, told("order0"))
        if fault.at == "CONNECT":
            sink.drop()
    with sink.fault(fault), pytest.raises(SenderUnavailable, match=f"{LOOPBACK}:{sink.port}"):
        await handed_in(mailing, told())
    assert mailing.connections.unready_reason() is not None
    await handed_in(mailing, told())
    assert mailing.connections.unready_reason() is None
    assert sink.told["order1:order.created.v1"] == 1


async def test_a_server_that_goes_away_and_comes_back(sink: SmtpSink, mailing: Mailing) -> None:
    """Connections to its former life are not mistaken for the new one."""
    await send_all(mailing, "order1", "order2")
    await sink.shut()
    for _ in range(3):
        with pytest.raises(SenderUnavailable):
            await handed_in(mailing, told("order3"))
    await sink.open()
    await handed_in(mailing, told("order3"))
    assert set(sink.told.values()) == {1}


async def test_a_server_that_dies_before_a_letter_was_sent(sink: SmtpSink, mailing: Mailing) -> None:
    """The next transaction is not taken either, so it was not about the message."""
    with sink.fault(Fault(at="RCPT", hang=True)):
        sending = asyncio.create_task(mailing.sender.send(told()))
        await wait_until(lambda: sink.hanging == 1, what="the recipient to be named")
        await sink.shut()
        with pytest.raises(SenderUnavailable):
            await sending


async def test_a_server_that_shuts_down_says_so_in_the_middle_of_a_letter(
    sink: SmtpSink, mailing: Mailing
) -> None:
    """The same answer that may concern one recipient; here nobody else gets on either."""
    await handed_in(mailing, told("order0"))
    closing = "421 4.3.2 shutting down"
    with (
        sink.fault(Fault(at="RCPT", answer=closing)),
        sink.fault(Fault(at="CONNECT", answer=closing)),
        pytest.raises(SenderUnavailable),
    ):
        await handed_in(mailing, told())
    assert "421" in (mailing.connections.unready_reason() or "")


# --- TLS and login ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that no system knows."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its certificate in a file."""
    file = tmp_path_factory.mktemp("tls") / "authority.pem"
    authority.cert_pem.write_to_path(str(file))
    return file


@pytest.fixture(scope="module")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """What the server needs to prove that it is on loopback."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(LOOPBACK).configure_cert(context)
    return context


@pytest.mark.parametrize("tls", ["starttls", "implicit", "if_offered"])
async def test_login_and_letters_travel_encrypted(
    server_tls: ssl.SSLContext, ca_file: Path, tls: str
) -> None:
    """The server demands both; several connections at once make no difference."""
    security = Security(tls_context=server_tls, implicit=tls == "implicit", login=LOGIN)
    async with smtp_sink(security) as sink:
        mailing = mailing_to(sink, tls=tls, ca_file=ca_file, username=LOGIN[0], password=LOGIN[1])
        await send_all(mailing, "order1", "order2", "order3")
        assert {(letter.encrypted, letter.login) for letter in sink.letters} == {(True, LOGIN[0])}
        assert len(sink.told) == 3


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tls": "starttls", "username": "shop", "password": "wrong"}, "535"),
        ({"tls": "starttls"}, "530"),
        ({"tls": "off"}, "530"),
        ({"tls": "starttls", "ca_file": None, "username": "shop", "password": "wrong"}, "certificate"),
    ],
    ids=["wrong password", "no login", "no TLS", "unknown authority"],
)
async def test_a_wrong_setting_makes_everybody_wait(
    server_tls: ssl.SSLContext, ca_file: Path, settings: dict[str, Any], reason: str
) -> None:
    """No letter is spent on it, and the reason names neither the password nor anything made from it."""
    async with smtp_sink(Security(tls_context=server_tls, login=LOGIN)) as sink:
        mailing = mailing_to(sink, **{"ca_file": ca_file, **settings})
        with pytest.raises(SenderUnavailable, match=reason) as caught:
            await handed_in(mailing, told())
        assert "wrong" not in str(caught.value)
        assert sink.letters == []


async def test_a_server_without_starttls_hears_nothing_where_tls_is_demanded(sink: SmtpSink) -> None:
    """Whoever hides the offer gets no letter to read."""
    mailing = mailing_to(sink, tls="starttls")
    with pytest.raises(SenderUnavailable, match="STARTTLS"):
        await handed_in(mailing, told())
    assert sink.letters == []


async def test_tls_if_offered_takes_any_certificate_and_none(
    sink: SmtpSink, server_tls: ssl.SSLContext
) -> None:
    """It keeps passive readers out where it can, and promises no more."""
    await handed_in(mailing_to(sink, tls="if_offered"), told())
    async with smtp_sink(Security(tls_context=server_tls)) as encrypting:
        await handed_in(mailing_to(encrypting, tls="if_offered"), told())
        assert [letter.encrypted for letter in sink.letters + encrypting.letters] == [False, True]
