"""Amounts as people read them, and prices as the record keeps them."""

import pytest

from shared.currencies import CURRENCIES, written
from shared.errors import DecodeError
from shared.prices import LinePrice, Prices, prices_text, read_prices, sum_of

PRICES = Prices(
    currency="EUR", lines=(LinePrice(unit_amount=1999, name="Mag Safe | Case"), None), amount_total=None
)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1999, "EUR", "19.99 EUR"),
        (5, "EUR", "0.05 EUR"),
        (0, "USD", "0.00 USD"),
        (123_456_789, "EUR", "1 234 567.89 EUR"),
        (1999, "JPY", "1 999 JPY"),
        (0, "KRW", "0 KRW"),
        (1999, "KWD", "1.999 KWD"),
        (12_345, "CLF", "1.2345 CLF"),
        (-250, "EUR", "-2.50 EUR"),
        (250, "ZZZ", "2.50 ZZZ"),
    ],
)
def test_an_amount_is_written_in_its_currencys_own_form(amount: int, currency: str, text: str) -> None:
    """As many digits after the point as the currency has, and no point where it has none."""
    assert written(amount, currency) == text


def test_currencies_are_those_of_iso_4217_that_can_be_paid_in() -> None:
    """Codes of three letters, each once; no gold, and none for testing."""
    assert {"EUR", "USD", "JPY", "KWD", "CHF", "XOF"} <= CURRENCIES
    assert not {"XAU", "XXX", "XTS", "EURO", "eur"} & CURRENCIES
    assert all(len(code) == 3 and code.isupper() for code in CURRENCIES)
    assert len(CURRENCIES) > 150


def test_prices_come_back_from_the_record() -> None:
    """A line without a price is an empty one."""
    assert prices_text(PRICES) == "EUR\t\n1999\tMag Safe | Case\n"
    assert read_prices(prices_text(PRICES), 2) == PRICES
    assert read_prices("", 2) is read_prices(None, 2) is None
    assert prices_text(None) == ""


@pytest.mark.parametrize(
    "text", ["EUR", "EUR\t5", "EUR\t5\n1\ta\n2\tb", "EUR\tmany\n1\ta", "EUR\t5\nmany\ta", "EUR\t5\n1"]
)
def test_prices_that_make_no_sense_are_told_apart(text: str) -> None:
    """Whatever somebody wrote into the field by hand."""
    with pytest.raises(DecodeError):
        read_prices(text, 1)


def test_a_total_is_the_sum_over_lines_times_pieces() -> None:
    """There is none where a line has no price."""
    lines = (LinePrice(unit_amount=1999, name=""), LinePrice(unit_amount=300, name=""))
    prices = Prices(currency="EUR", lines=lines, amount_total=None)
    assert sum_of([2, 1], prices) == 4298
    assert sum_of([2, 1], PRICES) is None
