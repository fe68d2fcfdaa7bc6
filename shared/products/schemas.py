"""What is sent and answered about products, as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field

from shared.currencies import CURRENCIES
from shared.http.validation import Body
from shared.messages import Identifier
from shared.prices import MAX_NAME_LENGTH, Currency, UnitAmount

MAX_CATEGORY_LENGTH: Final = 64
MAX_DESCRIPTION_LENGTH: Final = 2_000
MAX_STOCK: Final = 10**12
RESERVED_SKUS: Final = frozenset({"search", "stats"})
"""What stands at the place of a SKU in the path of another route."""
_LINE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
_TEXT: Final = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"


def _not_reserved(sku: str) -> str:
    if sku in RESERVED_SKUS:
        raise ValueError("is the name of another route: choose another SKU")
    return sku


Sku = Annotated[
    Identifier,
    AfterValidator(_not_reserved),
    Field(json_schema_extra={"not": {"enum": sorted(RESERVED_SKUS)}}),
]
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH, pattern=_LINE)]
Category = Annotated[str, Field(max_length=MAX_CATEGORY_LENGTH, pattern=_LINE)]
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION_LENGTH, pattern=_TEXT)]
PriceCurrency = Annotated[Currency, Field(json_schema_extra={"enum": sorted(CURRENCIES)})]


class ProductBody(Body):
    """A product. ``unit_amount`` is in the currency's smallest unit: 1999 is 19.99 EUR."""

    sku: Sku
    name: Name
    description: Description = ""
    category: Category = ""
    unit_amount: UnitAmount
    currency: PriceCurrency


def _without_defaults(schema: dict[str, Any]) -> None:
    schema["minProperties"] = 1
    for part in schema["properties"].values():
        del part["default"]


class ProductChangeBody(Body):
    """What is to change of a product: one field at least; the others stay as they are."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    name: Name = ""
    description: Description = ""
    category: Category = ""
    unit_amount: UnitAmount = 0
    currency: PriceCurrency = ""

    def changes(self) -> dict[str, Any]:
        """The fields that were sent."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class ProductStockBody(Body):
    """The stock of a product from now on, in pieces."""

    stock: Annotated[int, Field(strict=True, ge=0, le=MAX_STOCK)]


class ProductStockChangeBody(Body):
    """By how many pieces the stock of a product changes; not zero."""

    delta: Annotated[
        int,
        Field(strict=True, ge=-MAX_STOCK, le=MAX_STOCK, json_schema_extra={"not": {"const": 0}}),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductView:
    """A product. Times are in UTC.

    ``stock`` is what is available now, null where none was ever set; while it cannot be read it is absent,
    and ``note`` says so.
    """

    sku: str
    name: str
    description: str
    category: str
    unit_amount: int
    currency: str
    version: int
    created_at: datetime
    updated_at: datetime
    stock: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductList:
    """Products in the order of their SKUs. ``next_cursor`` leads to the next page; null on the last one.

    ``note`` says where something about them is not known at present.
    """

    products: Sequence[ProductView]
    next_cursor: str | None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductStatistics:
    """How many products there are, and how often the process that answers had what it was asked for.

    ``reads`` are its answers since its start by where they came from, as in ``X-Cache``; ``cache_hit_rate``
    is the share of hits, null where there were none yet.
    """

    products: int
    reads: Mapping[str, int]
    cache_hit_rate: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductStockView:
    """Pieces of a product that are available now."""

    sku: str
    stock: int
