"""The states of an order: the one place that names them."""

from enum import StrEnum


class OrderStatus(StrEnum):
    """Where an order stands. ``created`` and ``rejected`` are final."""

    ACCEPTED = "accepted"
    RETRYING = "retrying"
    DEAD = "dead"
    CREATED = "created"
    REJECTED = "rejected"
