"""The table of moves, and that it is the only place that spells a status."""

import re
import subprocess
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from shared.orders.model import FINAL, MOVES, OUTCOMES, OrderStatus, Trouble, outcome_of
from shared.orders.records import standing
from shared.orders.redis import scripts

ROOT = Path(__file__).parents[2]
HOME = "shared/orders/model.py"
WORDS = (*OrderStatus, Trouble.RETRYING)
SPELLED = re.compile(rf"""(["'])(?:{"|".join(WORDS)})\1""")
IN_LUA = re.compile(rf"""["'](?:{"|".join((*WORDS, Trouble.DEAD))})["']""")


def test_every_status_has_its_moves_and_none_leads_back() -> None:
    """An order takes each step once at most, so that ``{order}:{type}`` names one event."""
    assert set(MOVES) == set(OrderStatus)
    list(TopologicalSorter(MOVES).static_order())
    assert {OrderStatus.REJECTED, OrderStatus.DELIVERED, OrderStatus.CANCELLED} == FINAL
    assert set(OUTCOMES) <= set(MOVES[OrderStatus.ACCEPTED])


@pytest.mark.parametrize("status", OrderStatus)
def test_how_an_order_was_decided_is_known_wherever_it_stands(status: OrderStatus) -> None:
    """By ``decided_at``: what is cancelled may have been decided or not."""
    assert outcome_of(status, is_decided=False) is None
    rejected = status is OrderStatus.REJECTED
    assert outcome_of(status, is_decided=True) is (OrderStatus.REJECTED if rejected else OrderStatus.CREATED)


def _product(*endings: str) -> list[str]:
    asked = ["git", "ls-files", "-co", "--exclude-standard", *(f"*.{ending}" for ending in endings)]
    found = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    apart = ("tests/", "benchmarks/")
    return [path for path in found if not path.startswith(apart) and (ROOT / path).exists()]


def test_no_other_file_spells_a_status() -> None:
    """Python and templates take the names from the model, scripts from what stands before them."""
    spelled = {
        path
        for path in _product("py", "html")
        if path != HOME and SPELLED.search((ROOT / path).read_text("utf-8"))
    }
    spelled |= {path for path in _product("lua") if IN_LUA.search((ROOT / path).read_text("utf-8"))}
    assert spelled == set()


def test_scripts_are_given_every_name() -> None:
    """Those of all statuses and troubles, each as its own value."""
    for kind in (OrderStatus, Trouble):
        assert all(
            name in scripts.NAMES and repr(str(each)) in scripts.NAMES
            for name, each in kind.__members__.items()
        )


@pytest.mark.parametrize("trouble", Trouble)
def test_the_status_of_an_older_version_is_read_as_trouble(trouble: Trouble) -> None:
    """Until it is migrated, and while an older processor goes on writing it."""
    assert standing({"status": trouble.value}) == (OrderStatus.ACCEPTED, trouble)
    assert standing({"status": "accepted", "trouble": trouble.value}) == (OrderStatus.ACCEPTED, trouble)
    decided = {"status": "created", "trouble": trouble.value, "decided_at": "1"}
    assert standing(decided) == (OrderStatus.CREATED, None)
