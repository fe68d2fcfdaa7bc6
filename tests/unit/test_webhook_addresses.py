"""Where webhooks may go."""

import pytest

from webhooks.addresses import checked_receiver_url, is_public


@pytest.mark.parametrize("address", ["93.184.215.14", "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_the_public_internet_is_public(address: str) -> None:
    """And so are its addresses as IPv6 has them."""
    assert is_public(address)
    assert ":" in address or is_public(f"::ffff:{address}")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.0.8", "192.0.2.1", "198.18.0.1", "203.0.113.5", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1"),
        *("ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "2001:db8::1"),
        *("64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001::1", "::7f00:1", "", "localhost"),
        *("3fff::1", "168.63.129.16", "::ffff:168.63.129.16", "192.88.99.1"),
    ],
)
def test_nothing_else_is(address: str) -> None:
    """Private, loopback, link-local, shared, reserved, multicast, and what leads to such by a detour."""
    assert not is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        *("https://receiver.example/", "https://receiver.example:8443/hook?a=b", "https://[2606:4700::1]/"),
        "https://1.1.1.1.example/",
    ],
)
def test_a_url_of_a_public_receiver_is_taken(url: str) -> None:
    """As it was sent."""
    assert checked_receiver_url(url, is_private_allowed=False) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://receiver.example/", "https"),
        ("ftp://receiver.example/", "https"),
        ("receiver.example", "https"),
        ("https:///hook", "host"),
        ("https://user:pw@receiver.example/", "login"),
        ("https://user@receiver.example/", "login"),
        ("https://receiver.example/#top", "fragment"),
        ("https://receiver.example:22/", "port"),
        ("https://receiver.example:99999/", "port"),
        ("https://127.0.0.1/", "private"),
        ("https://127.1/", "private"),
        ("https://2130706433/", "private"),
        ("https://[::1]/", "private"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://receiver.example\\@evil.example/", "blanks"),
        ("https://bücher.example/", "ASCII"),
        ("https://receiver.example/\n", "blanks"),
        ("https://receiver.example/" + "x" * 2_000, "characters"),
        ("https://[bad/", "host"),
    ],
)
def test_another_is_refused_with_the_reason(url: str, why: str) -> None:
    """Which does not quote it: it may hold a password."""
    with pytest.raises(ValueError, match=why) as refused:
        checked_receiver_url(url, is_private_allowed=False)
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/", "http://localhost/", "https://10.0.0.1:22/"])
def test_for_development_this_machine_is_taken(url: str) -> None:
    """Where the setting says so; logins are refused even then."""
    assert checked_receiver_url(url, is_private_allowed=True) == url
    with pytest.raises(ValueError, match="login"):
        checked_receiver_url("http://a:b@localhost/", is_private_allowed=True)
