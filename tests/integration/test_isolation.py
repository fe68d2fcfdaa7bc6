"""One client alone does not keep another one from placing orders, whatever it asks for."""

import pytest

from tests.isolation.attacks import ATTACKS, fill, place_long_orders
from tests.isolation.trial import trial

SECONDS = 1.5
"""For each; ``python -m tests.isolation`` takes a minute."""
HANG_SECONDS = 5.0
"""Other tests share the machine here: ``python -m tests.isolation`` measures the second that is promised."""

pytestmark = [pytest.mark.broker, pytest.mark.native]


async def test_another_client_goes_on() -> None:
    """Its orders are taken, none hangs, and the gateway does not grow by half."""
    async with trial() as running:
        await fill(running.redis)
        await place_long_orders(running.port)
        await running.settle()
        faults = {attack: (await running.suffer(attack, SECONDS)).faults(HANG_SECONDS) for attack in ATTACKS}
    assert faults == {attack: [] for attack in ATTACKS}
