"""What stands in a letter, and that nothing in an order can change what the letter is."""

import email
import re
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis.strategies import from_regex, sampled_from

from notifier.domain import Notification, collected, notification_of
from notifier.senders.mail import LetterWriter, message_id
from shared.mailboxes import mailbox, named_mailbox
from shared.messages import EVENT_TYPES, IDENTIFIER_PATTERN
from shared.prices import LinePrice, Prices
from tests.harness.examples import an_order, created, rejected
from tests.harness.mailing import WROTE_AT, letters, told
from tests.harness.pricing import prices_of

ANN = "ann@example.org"


def received(notification: Notification, to: str = ANN, writer: LetterWriter | None = None) -> EmailMessage:
    """The letter as the recipient's program parses it."""
    content = (writer or letters()).write(notification, mailbox(to)).as_bytes()
    return email.message_from_string(content.decode(), EmailMessage, policy=SMTPUTF8)


def part(letter: EmailMessage, subtype: str) -> str:
    """The text of one of its parts, decoded."""
    body = letter.get_body((subtype,))
    assert body is not None
    content = body.get_content()
    assert isinstance(content, str)
    return content.replace("\r\n", "\n")


def test_a_letter_has_the_headers_it_needs_and_no_others() -> None:
    """Who, what, when, which, and that no person wrote it."""
    letter = received(told())
    assert {name: letter[name] for name in ("From", "To", "Subject", "Message-ID", "Auto-Submitted")} == {
        "From": "The Shop <orders@shop.example>",
        "To": ANN,
        "Subject": "Your order order1 is confirmed",
        "Message-ID": "<order1/order.created.v1@shop.example>",
        "Auto-Submitted": "auto-generated",
    }
    assert parsedate_to_datetime(letter["Date"]) == WROTE_AT
    assert set(letter.keys()) == {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
        *("MIME-Version", "Content-Type"),
    }


def test_both_parts_of_a_confirmation_say_the_same() -> None:
    """Text first, HTML last: programs show the last part that they can."""
    letter = received(notification_of(created(an_order("order1", ANN, cable=2, case=1))))
    assert [each.get_content_type() for each in letter.iter_parts()] == ["text/plain", "text/html"]
    assert part(letter, "plain") == (
        "Hello,\n\nyour order is confirmed. We have reserved everything for you.\n\n"
        "  2 x cable\n  1 x case\n\nOrder order1. This message was sent automatically.\n"
    )
    for said in ("Your order is confirmed", "We have reserved everything for you.", "2 &times;", "cable"):
        assert said in part(letter, "html")


def test_both_parts_say_what_the_order_costs() -> None:
    """Each piece, each line and the sum, in a form that can be copied and searched for."""
    order = an_order("order1", ANN, cable=2, case=1)
    notification = notification_of(created(order, prices=prices_of(4298, 1999, 300)))
    letter = received(notification)
    assert part(letter, "plain") == (
        "Hello,\n\nyour order is confirmed. We have reserved everything for you.\n\n"
        "  2 x cable (Cable), 19.99 EUR each: 39.98 EUR\n  1 x case (Case), 3.00 EUR each: 3.00 EUR\n"
        "  Total: 42.98 EUR\n\nOrder order1. This message was sent automatically.\n"
    )
    for said in ("cable (Cable), 19.99 EUR each", ">39.98 EUR<", "Total: 42.98 EUR"):
        assert said in part(letter, "html")
    assert "2 x cable (Cable), 19.99 EUR each: 39.98 EUR\n" in notification.text
    assert notification.text.endswith("Total: 42.98 EUR")


@pytest.mark.parametrize(
    ("currency", "each", "total"), [("JPY", "1 999 JPY", "3 998 JPY"), ("KWD", "1.999 KWD", "3.998 KWD")]
)
def test_amounts_have_the_form_of_their_currency(currency: str, each: str, total: str) -> None:
    """Yen have no smaller part, dinars have a thousand."""
    prices = prices_of(3998, 1999, currency=currency)
    notification = notification_of(created(an_order("order1", ANN, cable=2), prices=prices))
    for said in (
        notification.text,
        part(received(notification), "plain"),
        part(received(notification), "html"),
    ):
        assert each in said
        assert f"Total: {total}" in said


def test_a_letter_about_an_order_that_is_priced_in_part_has_no_total() -> None:
    """A sum over the other lines would mislead."""
    order = an_order("order1", ANN, cable=2, case=1)
    said = part(received(notification_of(created(order, prices=prices_of(None, None, 300)))), "plain")
    assert "  2 x cable\n  1 x case (Case), 3.00 EUR each: 3.00 EUR\n\nOrder" in said
    assert "Total" not in said


def test_a_collected_letter_says_what_each_order_costs() -> None:
    """In both parts."""
    priced = notification_of(created(an_order("order1", ANN, cable=2), prices=prices_of(3998, 1999)))
    letter = received(collected([priced, notification_of(created(an_order("order2", ANN, case=1)))]))
    for kind in ("plain", "html"):
        assert part(letter, kind).count("Total: 39.98 EUR") == 1


def test_a_products_name_becomes_neither_link_nor_markup() -> None:
    """It is written by whoever may write products."""
    line = LinePrice(unit_amount=1, name="<b>evil.example</b> 1.99")
    prices = Prices(currency="EUR", lines=(line,), amount_total=1)
    letter = received(notification_of(created(an_order("order1", ANN), prices=prices)))
    for kind in ("plain", "html"):
        assert "evil.example" not in part(letter, kind)
        assert "evil.\u200cexample" in part(letter, kind)
    assert "<b>" not in part(letter, "html")


def test_both_parts_of_a_rejection_name_the_culprit() -> None:
    """The customer learns which item, why, and that nothing is charged."""
    letter = received(notification_of(rejected(an_order("order1", ANN, cable=2))))
    assert letter["Subject"] == "Your order order1 is not possible"
    for kind in ("plain", "html"):
        assert "cable: there is not enough of it in stock." in part(letter, kind)
        assert "nothing will be charged" in part(letter, kind)


def test_a_collected_letter_tells_of_every_order() -> None:
    """Both parts, with each order's outcome, reason and items, and all of it as text."""
    confirmed = notification_of(created(an_order("order1", ANN, cable=2)))
    refused = notification_of(rejected(an_order("evil-site.com", ANN, case=1), sku="case"))
    letter = received(collected([confirmed, refused]))
    assert letter["Subject"] == "News about 2 of your orders"
    assert letter["Message-ID"] == "<order1/order.created.v1.collected@shop.example>"
    for kind in ("plain", "html"):
        said = part(letter, kind)
        for each in ("Order order1 is confirmed.", "cable", "is not possible.", "case: there is not enough"):
            assert each in said
        assert "Order evil-site.\u200ccom is not possible" in said
    assert part(letter, "plain").startswith("Hello,\n\nThere is news about 2 of your orders.\n\nOrder order1")
    assert "&lt;" not in part(letter, "html")


def test_html_is_escaped_and_text_is_not() -> None:
    """A reason is free text, whoever published it."""
    letter = received(notification_of(rejected(an_order(), reason="<b>&</b>\r\nBcc: x@y", sku=None)))
    assert "<b>&</b>" in part(letter, "plain")
    assert "&lt;b&gt;&amp;&lt;/b&gt;" in part(letter, "html")
    assert "<b>" not in part(letter, "html")
    assert letter["Bcc"] is None


LINK = re.compile(r"\w\.\w|://|\w@\w|mailto:\w")
"""What mail programs make a link of, or a part of it."""


@pytest.mark.parametrize(
    "text", ["evil-site.com", "www.evil.example", "v1.2.3", "a..b", "evil.com-x", "x.xn--p1ai"]
)
def test_an_id_or_sku_never_becomes_a_link(text: str) -> None:
    """In no part of the letter and not in its subject; to a reader they look as they are."""
    for event in (
        created(an_order(text, ANN, **{text: 2})),
        rejected(an_order(text, ANN, **{text: 2}), sku=text),
    ):
        letter = received(notification_of(event))
        for said in (letter["Subject"], part(letter, "plain"), part(letter, "html")):
            assert text in said.replace("\u200c", "")
            assert not LINK.search(re.sub(r"<[^>]*>", "", said))


@pytest.mark.parametrize(
    "reason", ["see https://evil.example/?q", "write to a@evil.example", "mailto:a@b", "tel:+49"]
)
def test_a_reason_never_becomes_a_link(reason: str) -> None:
    """It is free text, and may come from an operator or from another version."""
    letter = received(notification_of(rejected(reason=reason, sku=None)))
    for said in (part(letter, "plain"), part(letter, "html")):
        assert reason in said.replace("\u200c", "")
        assert not LINK.search(re.sub(r"<[^>]*>", "", said))


@pytest.mark.parametrize("reason", ["{{ 7 * 7 }}", "{% include 'created.txt' %}"])
def test_what_is_said_is_never_a_template(reason: str) -> None:
    """Only our own files are."""
    said = part(received(notification_of(rejected(reason=reason, sku=None))), "plain")
    assert reason in said.replace("\u200c", "")


def test_a_name_with_commas_and_umlauts_stays_one_sender() -> None:
    """The header's library does the quoting."""
    letter = received(told(), writer=letters(named_mailbox("Läden, GmbH <orders@shop.example>")))
    (sender,) = letter["From"].addresses
    assert (sender.display_name, sender.addr_spec) == ("Läden, GmbH", "orders@shop.example")


@pytest.mark.parametrize(
    "to",
    [
        f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.org",
        "a=b?c=d@example.org",
        "jürgen@example.org",
        f"{'ü' * 32}@{'b' * 60}.org",
    ],
)
def test_the_recipient_survives_the_folding_of_headers(to: str) -> None:
    """However long or odd, one address goes in and the same one comes out."""
    (recipient,) = received(told(), to)["To"].addresses
    assert recipient.addr_spec == to


def test_letters_are_ascii_unless_the_address_is_not() -> None:
    """Any server can take them; only an address beyond ASCII needs more."""
    rejection = notification_of(rejected(reason="zu groß", sku=None))
    writer = letters(named_mailbox("Läden <orders@shop.example>"))
    assert writer.write(rejection, mailbox("ann@exämple.org")).as_bytes().isascii()
    assert "zu groß" in part(received(rejection), "plain")
    content = writer.write(rejection, mailbox("jürgen@example.org")).as_bytes()
    assert not content.partition(b"\r\n\r\n")[0].isascii()
    assert content.partition(b"\r\n\r\n")[2].isascii()


def test_a_letter_keeps_to_the_line_length_of_smtp() -> None:
    """1,000 octets with the line's end, for a hundred items and a long reason too."""
    items = {f"{'s' * 60}{n}": n + 1 for n in range(100)}
    event = rejected(an_order("o" * 64, ANN, **items), reason="r" * 5000, sku="s" * 64)
    content = letters().write(notification_of(event), mailbox(ANN)).as_bytes()
    assert max(map(len, content.splitlines(keepends=True))) <= 1000


@settings(max_examples=300, deadline=None)
@given(from_regex(IDENTIFIER_PATTERN, fullmatch=True), sampled_from(sorted(EVENT_TYPES)))
def test_a_message_id_names_its_event_in_a_form_that_all_take(order_id: str, kind: str) -> None:
    """Dot-atom on both sides of the @, and the event id can be read back from it, so no two are alike."""
    event_id = f"{order_id}:{kind}"
    made = message_id(event_id, "shop.example")
    left, _, right = made[1:-1].partition("@")
    assert left.replace("=2E", ".").replace("/", ":") == event_id
    assert all(atom and "=2E." not in atom for atom in left.split("."))
    assert right == "shop.example"


@pytest.mark.parametrize("order_id", ["a" * 64, "a" + "." * 63, "a..b", "a.", "a-_."])
def test_a_long_message_id_survives_the_folding_of_headers(order_id: str) -> None:
    """It is the same for whoever compares it."""
    notification = told(order_id)
    content = letters().write(notification, mailbox(ANN)).as_bytes()
    assert email.message_from_bytes(content, policy=SMTP)["Message-ID"] == message_id(
        notification.id, "shop.example"
    )
    assert b"=?utf-8?" not in content.partition(b"Message-ID:")[2].partition(b"Auto-Submitted:")[0]
