"""What becomes of products and customers: these events, and their form on the wire.

They are CloudEvents like those of orders. The service that tells one keeps it in an outbox, as the text that
will be sent or what it follows from: the same event has the same bytes however often it is published.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from shared.messages import Identifier, Trace
from shared.prices import CurrencyCode, UnitAmount


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductStep:
    """A product as it is from then on. Its price is in the currency's smallest unit."""

    sku: Identifier
    name: str
    description: str
    category: str
    unit_amount: UnitAmount
    currency: CurrencyCode
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductCreated(ProductStep):
    """A product can be had, or again, after it was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductUpdated(ProductStep):
    """Something of a product has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductDeleted:
    """A product is gone; a later version may come."""

    sku: Identifier
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductStockUpdated:
    """The stock of a SKU has changed; null where nobody has set any."""

    sku: Identifier
    stock: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserStep:
    """A customer or operator, by the id alone: a service that may know more asks for it."""

    id: str
    role: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCreated(UserStep):
    """There is a new account."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserUpdated(UserStep):
    """Something of an account has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserDeleted(UserStep):
    """An account is gone, and what names its owner will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserLogin(UserStep):
    """The owner of an account has signed in."""


ShopEventData = ProductStep | ProductDeleted | ProductStockUpdated | UserStep
SHOP_EVENT_TYPES: Final[Mapping[str, type[ShopEventData]]] = {
    "product.created.v1": ProductCreated,
    "product.updated.v1": ProductUpdated,
    "product.deleted.v1": ProductDeleted,
    "product.stock_updated.v1": ProductStockUpdated,
    "user.created.v1": UserCreated,
    "user.updated.v1": UserUpdated,
    "user.deleted.v1": UserDeleted,
    "user.login.v1": UserLogin,
}
_NAMES: Final = {data: name for name, data in SHOP_EVENT_TYPES.items()}


def shop_event(data: ShopEventData, *, source: str, number: int, time: datetime, trace: Trace) -> str:
    """The envelope. ``number`` tells the steps of one subject apart: its id is the same at every publish."""
    kind = _NAMES[type(data)]
    subject = data.id if isinstance(data, UserStep) else data.sku
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{subject}:{kind}:{number}",
        "source": source,
        "type": kind,
        "subject": subject,
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
        "correlationid": trace.correlation_id,
    }
    if trace.traceparent:
        envelope["traceparent"] = trace.traceparent
    return orjson.dumps(envelope, option=orjson.OPT_UTC_Z).decode()
