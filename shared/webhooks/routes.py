"""The table of routes about webhooks: the service serves it, and the gateway in front of it."""

from collections.abc import Callable
from typing import Any, Final

from shared.http.auth import Access
from shared.http.listing import PAGE
from shared.http.problems import (
    DATABASE_UNAVAILABLE,
    INVALID_PARAMETER,
    NOT_FOUND,
    TOO_BUSY,
    ProblemType,
)
from shared.http.routes import Handler, Parameter, Route
from shared.webhooks.problems import TOO_MANY_WEBHOOKS, WEBHOOK_DISABLED
from shared.webhooks.schemas import (
    DeliveryList,
    DeliveryStatus,
    DeliveryView,
    RecoverBody,
    RecoveredView,
    ResendBody,
    SecretWebhookView,
    WebhookBody,
    WebhookChangeBody,
    WebhookList,
    WebhookView,
)

TAG: Final = "webhooks"
TAGS: Final = {TAG: "Being told of orders by HTTP: docs/webhooks.md says what receivers get."}
_STATUS: Final = Parameter(
    name="status",
    description="Only deliveries that stand so.",
    schema={"type": "string", "enum": list(DeliveryStatus)},
)
_EXAMPLE: Final = {"url": "https://shop.example.com/hooks", "events": ["order.created.v1"]}


def webhook_table(handlers: Callable[[str], Handler]) -> tuple[Route, ...]:
    """The routes that webhooks answers, each with the handler of its name."""

    def route(name: str, path: str, *problems: ProblemType, **further: Any) -> Route:
        unknown = (NOT_FOUND,) if "{id}" in path else ()
        return Route(
            name=name,
            path=f"/webhooks{path}",
            handler=handlers(name),
            access=Access.CUSTOMER,
            tag=TAG,
            problems=(*unknown, *problems, DATABASE_UNAVAILABLE, TOO_BUSY),
            **further,
        )

    return (
        route(
            "createWebhook",
            "",
            TOO_MANY_WEBHOOKS,
            method="POST",
            summary="Be told of orders",
            description="A customer is told of the own orders, an operator of all. The secret is shown once.",
            status=201,
            meaning="The webhook exists.",
            answer=SecretWebhookView,
            bodies=(WebhookBody,),
            body_examples={"created orders": _EXAMPLE},
            headers={201: ("Location",)},
        ),
        route("listWebhooks", "", summary="List webhooks", meaning="All of them.", answer=WebhookList),
        route("getWebhook", "/{id}", summary="Show a webhook", meaning="As it stands.", answer=WebhookView),
        route(
            "changeWebhook",
            "/{id}",
            method="PATCH",
            summary="Change a webhook",
            description="Disabled, it is told nothing; what waited for it and what happens meanwhile has "
            "failed, and can be recovered.",
            meaning="As it stands.",
            answer=WebhookView,
            bodies=(WebhookChangeBody,),
            body_examples={"enabled again": {"enabled": True}},
        ),
        route(
            "deleteWebhook",
            "/{id}",
            method="DELETE",
            summary="Remove a webhook",
            status=204,
            meaning="It is gone, and what was to be delivered to it.",
            answer=None,
        ),
        route(
            "rotateWebhookSecret",
            "/{id}/rotate",
            method="POST",
            summary="Give a webhook another secret",
            description="For a day the one before it signs too.",
            meaning="The webhook with its new secret.",
            answer=SecretWebhookView,
        ),
        route(
            "listDeliveries",
            "/{id}/deliveries",
            INVALID_PARAMETER,
            summary="What was delivered, or not",
            meaning="A page of deliveries.",
            answer=DeliveryList,
            parameters=(_STATUS, *PAGE),
        ),
        route(
            "resendDelivery",
            "/{id}/resend",
            WEBHOOK_DISABLED,
            method="POST",
            summary="Send a delivery once more",
            status=202,
            meaning="It is due now.",
            answer=DeliveryView,
            bodies=(ResendBody,),
            body_examples={"the seventeenth": {"sequence": 17}},
        ),
        route(
            "recoverDeliveries",
            "/{id}/recover",
            WEBHOOK_DISABLED,
            method="POST",
            summary="Send again what failed since a time",
            description="Up to 5,000 at once, the first ones first: ask again until it says 0.",
            status=202,
            meaning="They are due now.",
            answer=RecoveredView,
            bodies=(RecoverBody,),
            body_examples={"of a morning": {"since": "2030-01-31T09:00:00Z"}},
        ),
    )
