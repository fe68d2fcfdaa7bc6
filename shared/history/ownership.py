"""Whose an order is, and who may see it: the one place that says so.

An order that is placed with a customer's token is that customer's. Others are told nothing of it but that its
id is taken. Operators who say who they are see every order; one who does not, which is possible where tokens
are optional, sees those that are no customer's.
"""

from dataclasses import dataclass

from shared.http.auth import Caller, Role
from shared.mailboxes import mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class VisibleOrders:
    """The orders that a list may show: those of one customer, or where that is None of all, or of none."""

    customer: str | None = None
    unowned: bool = False


def may_see(caller: Caller, customer: str | None) -> bool:
    """Whether the caller may know of an order of this customer; None for one without a customer."""
    if caller.role is Role.CUSTOMER:
        return customer is not None and customer == caller.id
    if caller.is_anonymous:
        return caller.role is Role.OPERATOR and customer is None
    return True


def visible_to(caller: Caller, asked: str | None) -> VisibleOrders | None:
    """What a list shows to a caller who asks for the orders of one customer, or of all; None for nothing."""
    if asked is not None:
        return VisibleOrders(customer=asked) if may_see(caller, asked) else None
    if caller.role is Role.CUSTOMER:
        return VisibleOrders(customer=caller.id)
    return VisibleOrders(unowned=caller.is_anonymous)


def own_address(caller: Caller) -> str | None:
    """Where to write to a customer who names no address for an order, if letters can go there."""
    if caller.customer is None or caller.email is None:
        return None
    try:
        mailbox(caller.email)
    except ValueError:
        return None
    return caller.email
