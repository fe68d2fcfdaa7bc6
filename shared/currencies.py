"""ISO 4217: which currencies there are, and how an amount in each is written.

Amounts are whole numbers of the currency's smallest unit everywhere; only where a person reads one does it
get its point. Metals and codes for testing have no smallest unit and are left out.
"""

import re
from typing import Final


def _codes(digits: int, text: str) -> dict[str, int]:
    return dict.fromkeys(text.split(), digits)


_DIGITS: Final = (
    _codes(0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF")
    | _codes(
        2,
        """
        AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN
        BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP
        GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP
        LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR
        NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN
        SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR
        ZMW ZWG
        """,
    )
    | _codes(3, "BHD IQD JOD KWD LYD OMR TND")
    | _codes(4, "CLF UYW")
)
CURRENCIES: Final = frozenset(_DIGITS)
USUAL_DIGITS: Final = 2
_PRICE: Final = re.compile(r"(\d{1,12})(?:\.(\d{1,4}))?", re.ASCII)


def written(amount: int, currency: str) -> str:
    """An amount of smallest units as people read it: ``19.99 EUR``, ``1 999 JPY``, ``1.500 KWD``."""
    digits = _DIGITS.get(currency, USUAL_DIGITS)
    whole, part = divmod(abs(amount), 10**digits)
    sign = "-" if amount < 0 else ""
    point = f".{part:0{digits}}" if digits else ""
    return f"{sign}{whole:,}".replace(",", " ") + f"{point} {currency}"


def amount_of(text: str, currency: str) -> int:
    """The inverse of :func:`written`, exactly, from a price as people type it: ``19.99``, ``1999`` yen.

    Raises ValueError where the currency has no such amount, or is unknown.
    """
    digits = _DIGITS.get(currency)
    if digits is None:
        raise ValueError(f"{currency} is no currency of ISO 4217")
    found = _PRICE.fullmatch(text)
    part = found[2] or "" if found else ""
    if found is None or len(part) > digits:
        places = f"a point and at most {digits} digits after it" if digits else "without a point"
        raise ValueError(
            f"must be a number such as {'1' + '.' * bool(digits) + '9' * digits}: digits, {places}"
        )
    return int(found[1] + part.ljust(digits, "0"))
