"""The table of routes about products: the catalogue serves it, and the gateway in front of it."""

from collections.abc import Callable
from typing import Any, Final

from shared.http.auth import Access
from shared.http.listing import PAGE
from shared.http.problems import (
    DATABASE_UNAVAILABLE,
    INVALID_PARAMETER,
    NOT_FOUND,
    STORE_UNAVAILABLE,
    TOO_BUSY,
    ProblemType,
)
from shared.http.routes import Handler, Parameter, Route
from shared.products.problems import (
    BROKEN_STOCK,
    PRODUCT_CHANGED,
    PRODUCT_EXISTS,
    STOCK_OUT_OF_BOUNDS,
    TOO_MANY_SKUS,
)
from shared.products.schemas import (
    MAX_CATEGORY_LENGTH,
    ProductBody,
    ProductChangeBody,
    ProductList,
    ProductStatistics,
    ProductStockBody,
    ProductStockChangeBody,
    ProductStockView,
    ProductView,
)

TAG: Final = "products"
MAX_QUERY_LENGTH: Final = 200
_FILTERS: Final = (
    Parameter(
        name="category",
        description="Only products of this category.",
        schema={"type": "string", "maxLength": MAX_CATEGORY_LENGTH},
    ),
    Parameter(
        name="q",
        description="Only products in whose name, description, category or SKU a word begins with each of "
        "these words, 8 of them at most.",
        schema={"type": "string", "maxLength": MAX_QUERY_LENGTH},
    ),
)
_IF_MATCH: Final = Parameter(
    name="If-Match",
    place="header",
    description="Refuses with 412 unless the product's `ETag` is one of these.",
    schema={"type": "string"},
)
_IF_NONE_MATCH: Final = Parameter(
    name="If-None-Match",
    place="header",
    description="Answers 304 where the product's `ETag` is one of these.",
    schema={"type": "string"},
)
_EXAMPLE: Final = {
    "sku": "mag-safe-phone-case",
    "name": "Phone case",
    "description": "Holds on by magnets.",
    "category": "Electronics",
    "unit_amount": 1999,
    "currency": "EUR",
}
_ETAG: Final = ("ETag",)
_READ: Final = ("ETag", "X-Cache")


def product_table(handlers: Callable[[str], Handler]) -> tuple[Route, ...]:
    """The routes that the catalogue answers, each with the handler of its name."""

    def route(name: str, **further: Any) -> Route:
        problems: tuple[ProblemType, ...] = further.pop("problems", ())
        return Route(
            name=name,
            handler=handlers(name),
            tag=TAG,
            problems=(*problems, DATABASE_UNAVAILABLE, TOO_BUSY),
            **further,
        )

    listing: dict[str, Any] = {
        "access": Access.PUBLIC,
        "meaning": "A page of products.",
        "answer": ProductList,
        "parameters": (*_FILTERS, *PAGE),
        "problems": (INVALID_PARAMETER,),
        "headers": {200: ("X-Cache",)},
    }
    return (
        route(
            "listProducts",
            path="/products",
            summary="List products",
            description="Sorted by SKU. Follow `next_cursor` until it is null.",
            **listing,
        ),
        route(
            "searchProducts",
            path="/products/search",
            summary="Search products",
            description="The same as `GET /products`.",
            **listing,
        ),
        route(
            "getProductStatistics",
            path="/products/stats",
            access=Access.OPERATOR,
            summary="How many products there are, and how often the cache has them",
            meaning="The numbers.",
            answer=ProductStatistics,
        ),
        route(
            "getProduct",
            path="/products/{sku}",
            access=Access.PUBLIC,
            summary="Show a product",
            description="`stock` is read elsewhere when the answer is given, and does not count for `ETag`.",
            meaning="The product as it stands.",
            answer=ProductView,
            parameters=(_IF_NONE_MATCH,),
            problems=(NOT_FOUND,),
            headers={200: (*_READ, "X-Catalogue-Version"), 304: _READ, 404: ("X-Cache",)},
            bodiless={304: "The product is as the client has it."},
        ),
        route(
            "createProduct",
            method="POST",
            path="/products",
            access=Access.OPERATOR,
            summary="Add a product",
            description="Its price holds for orders from a moment later on.",
            status=201,
            meaning="The product exists.",
            answer=ProductView,
            bodies=(ProductBody,),
            body_examples={"a phone case": _EXAMPLE},
            problems=(PRODUCT_EXISTS,),
            headers={201: ("Location", *_ETAG), 409: ("Location",)},
        ),
        route(
            "changeProduct",
            method="PATCH",
            path="/products/{sku}",
            access=Access.OPERATOR,
            summary="Change a product",
            description="What is not sent stays as it is. Orders that were accepted keep their price.",
            meaning="The product as it stands.",
            answer=ProductView,
            parameters=(_IF_MATCH,),
            bodies=(ProductChangeBody,),
            body_examples={"a new price": {"unit_amount": 1799}},
            problems=(NOT_FOUND, PRODUCT_CHANGED),
            headers={200: _ETAG, 412: _ETAG},
        ),
        route(
            "deleteProduct",
            method="DELETE",
            path="/products/{sku}",
            access=Access.OPERATOR,
            summary="Remove a product",
            description="Its stock stays. Orders for its SKU have no price from then on.",
            status=204,
            meaning="It is gone.",
            answer=None,
            parameters=(_IF_MATCH,),
            problems=(NOT_FOUND, PRODUCT_CHANGED),
            headers={412: _ETAG},
        ),
    )


def product_stock_route(handlers: Callable[[str], Handler]) -> Route:
    """What the gateway answers by itself, since it keeps stock: also while the catalogue is away."""
    return Route(
        name="changeProductStock",
        handler=handlers("changeProductStock"),
        tag=TAG,
        method="PATCH",
        path="/products/{sku}/stock",
        access=Access.OPERATOR,
        summary="Set or change what is available of a product",
        description="`stock` sets it and makes the SKU known; `delta` changes it, and is refused where it "
        "would go below zero. The same as `PUT` and `PATCH /inventory/{sku}`.",
        meaning="What is available now.",
        answer=ProductStockView,
        bodies=(ProductStockBody, ProductStockChangeBody),
        body_examples={"forty-five": {"stock": 45}, "three less": {"delta": -3}},
        problems=(NOT_FOUND, STOCK_OUT_OF_BOUNDS, TOO_MANY_SKUS, BROKEN_STOCK, STORE_UNAVAILABLE),
    )
