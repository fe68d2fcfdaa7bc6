"""The kinds of problem that only routes about products and their stock answer with."""

from typing import Final

from shared.http.problems import ProblemType

PRODUCT_EXISTS: Final = ProblemType(name="product-exists", status=409, title="The product exists already")
PRODUCT_CHANGED: Final = ProblemType(
    name="precondition-failed", status=412, title="The product has changed meanwhile"
)
STOCK_OUT_OF_BOUNDS: Final = ProblemType(
    name="stock-out-of-bounds", status=409, title="Stock would leave its bounds"
)
TOO_MANY_SKUS: Final = ProblemType(name="too-many-skus", status=409, title="Too many SKUs")
BROKEN_STOCK: Final = ProblemType(name="broken-stock", status=409, title="Stock is not a number")
