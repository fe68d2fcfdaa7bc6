"""What an operator types becomes the order that the gateway takes."""

import pytest

from orderctl.commands.orders import order_body
from orderctl.errors import OrderctlError


def test_one_product_and_further_items_become_one_order() -> None:
    """The simple form and the items add up."""
    assert order_body("cable", 2, ["case=1", "stand=3"], "order1", "a@example.com") == {
        "id": "order1",
        "email": "a@example.com",
        "items": [{"sku": "cable", "qty": 2}, {"sku": "case", "qty": 1}, {"sku": "stand", "qty": 3}],
    }


def test_an_id_that_is_left_out_is_not_sent() -> None:
    """The server makes one up."""
    assert order_body("cable", 1, [], None, None) == {"items": [{"sku": "cable", "qty": 1}]}


@pytest.mark.parametrize("items", [[], ["cable"], ["cable=many"]])
def test_an_unclear_order_is_refused_before_it_is_sent(items: list[str]) -> None:
    """Nothing, or something that cannot be read, is no order."""
    with pytest.raises(OrderctlError, match="sku=qty"):
        order_body(None, 1, items, None, None)
