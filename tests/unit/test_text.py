"""Text of strangers on its way to a page or a terminal."""

import pytest

from shared.text import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ünïcödé, 日本 and 🙂", "plain, ünïcödé, 日本 and 🙂"),
        ("\x1b[2Jcleared", r"\x1b[2Jcleared"),
        ("\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
        ("gpj.exe\u202e", r"gpj.exe\u202e"),
        ("two\nlines\r", r"two\nlines\r"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("half \ud800 a pair", r"half \ud800 a pair"),
        ("\x9b31m", r"\x9b31m"),
        ("line\u2028sep", r"line\u2028sep"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_what_acts_or_hides_is_escaped(text: str, shown: str) -> None:
    """What can simply be read stays as it is."""
    assert visible(text) == shown
