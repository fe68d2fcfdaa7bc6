"""A product's answer and its stock, which is read elsewhere at the moment of the answer."""

from typing import Final

from shared.errors import StoreUnavailable

NO_STOCK: Final = "The stock is not known at present: its store is away."
X_CACHE: Final = "X-Cache"
HIT: Final = "hit"
VERSION: Final = "X-Catalogue-Version"
"""Names the last write that the answer knows of, where nothing that was written before it may be missing."""

Stock = int | StoreUnavailable | None
"""Pieces, None where none was ever set, or why it is not known."""
_STOCK: Final = b',"stock":'


def with_stock(product: bytes, stock: Stock) -> bytes:
    """The JSON of a product with its stock, or with a note that it is not known."""
    if isinstance(stock, StoreUnavailable):
        return b'%b,"note":"%b"}' % (product[:-1], NO_STOCK.encode())
    return b"%b%b%b}" % (product[:-1], _STOCK, b"null" if stock is None else b"%d" % stock)


def without_stock(answer: bytes) -> bytes | None:
    """The inverse; None where the stock is not known. A quote inside of a text has a backslash before it."""
    product, mark, _ = answer.rpartition(_STOCK)
    return product + b"}" if mark else None
