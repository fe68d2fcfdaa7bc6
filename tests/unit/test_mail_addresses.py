"""Which addresses mail can be sent to, and that nothing hostile hides in them."""

from email.headerregistry import Address
from email.utils import parseaddr

import pytest
from aiosmtplib.email import parse_address
from hypothesis import given, settings
from hypothesis.strategies import characters, text

from shared.mailboxes import mailbox, named_mailbox


@pytest.mark.parametrize(
    ("address", "sent_to"),
    [
        ("ann@example.org", "ann@example.org"),
        ("o'neil+tag@sub.example.org", "o'neil+tag@sub.example.org"),
        ("a.b!#$%&'*/?=^_`{|}~-c@example.org", "a.b!#$%&'*/?=^_`{|}~-c@example.org"),
        ("root@localhost", "root@localhost"),
        ("ann@EXÄMPLE.org", "ann@xn--exmple-cua.org"),
        ("x@straße.de", "x@xn--strae-oqa.de"),
        ("x@faß.example", "x@xn--fa-hia.example"),
        ("x@βόλος.gr", "x@xn--nxasmm1c.gr"),
        ("x@xn--strae-oqa.de", "x@xn--strae-oqa.de"),
        ("jürgen@example.org", "jürgen@example.org"),
        ("अजय@example.org", "अजय@example.org"),
        (f"{'a' * 64}@example.org", f"{'a' * 64}@example.org"),
    ],
)
def test_addresses_without_quoting_are_taken(address: str, sent_to: str) -> None:
    """The domain becomes ASCII, which every server can look up; the rest stays as it was."""
    assert mailbox(address).address == sent_to


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ann",
        "@example.org",
        "ann@",
        "ann@@example.org",
        "a@b@example.org",
        ".ann@example.org",
        "ann.@example.org",
        "a..b@example.org",
        "<ann@example.org>",
        "ann@example.org>",
        "Ann<ann@example.org>",
        "ann,bob@example.org",
        "ann;bob@example.org",
        "ann(comment)@example.org",
        '"ann"@example.org',
        "ann\\bob@example.org",
        "[ann]@example.org",
        "ann bob@example.org",
        "ann\r\nRCPT TO:<bob@example.org>@example.org",
        "ann\u2028Bcc:bob@example.org",
        "ann\u202egro@example.org",
        "ann\u00a0b@example.org",
        "ann\udc80@example.org",
        "ann@example.org\n",
        "=?utf-8?q?bob=40example.com?=@example.org",
        "ann@exam ple.org",
        "ann@\uff45xample.org",
        "ann@exa\u200bmple.org",
        "ann@exa\u00admple.org",
        "ann@日本語。jp",
        "ann@xn--a.org",
        "ann@☃.net",
        "ann@exam_ple.org",
        "ann@-example.org",
        "ann@example-.org",
        "ann@example..org",
        "ann@example.org.",
        "ann@[127.0.0.1]",
        "ann@example.org>SIZE=1",
        f"{'a' * 65}@example.org",
        f"{'ä' * 33}@example.org",
        f"ann@{'a' * 64}.org",
        f"ann@{'a.' * 130}org",
    ],
)
def test_everything_else_is_refused(address: str) -> None:
    """No display name, comment, second recipient, parameter or line break gets through."""
    with pytest.raises(ValueError, match="mail can be sent to"):
        mailbox(address)


@settings(max_examples=300, deadline=None)
@given(text(characters(), max_size=20), text(characters(), max_size=20))
def test_what_is_taken_means_the_same_to_every_parser(local: str, domain: str) -> None:
    """Our reading, the library's and the header's agree, so nobody else gets the letter."""
    try:
        taken = mailbox(f"{local}@{domain}")
    except ValueError:
        return
    assert parse_address(taken.address) == taken.address
    assert parseaddr(taken.address) == ("", taken.address)
    assert str(Address(username=taken.local, domain=taken.domain)) == taken.address


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("orders@example.com", "", "orders@example.com"),
        ("Shop <orders@example.com>", "Shop", "orders@example.com"),
        ('"Shop, Ltd" <orders@example.com>', "Shop, Ltd", "orders@example.com"),
        (" Läden <orders@example.com> ", "Läden", "orders@example.com"),
    ],
)
def test_the_shop_may_have_a_name(text: str, name: str, address: str) -> None:
    """It is shown beside the address."""
    read = named_mailbox(text)
    assert (read.name, read.address) == (name, address)


@pytest.mark.parametrize("text", ["", "Shop", "Shop <>", "Shop <a@b> <c@d>", "Sh\x00op <a@b>", "a@b, c@d"])
def test_a_sending_address_is_one_address(text: str) -> None:
    """A wrong one is found at start, not with the first letter."""
    with pytest.raises(ValueError):  # noqa: PT011 - which part is wrong varies; that it is one line, not
        named_mailbox(text)
