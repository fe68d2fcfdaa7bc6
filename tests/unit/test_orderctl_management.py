"""Which nodes count as cut off, by what brokers have noted of one another."""

from collections.abc import Mapping, Sequence

import pytest

from orderctl.management import partitioned_off


@pytest.mark.parametrize(
    ("noted", "off"),
    [
        ({"one": (), "two": (), "three": ()}, set()),
        ({"one": ("three",), "two": (), "three": ()}, {"three"}),
        ({"one": ("three",), "two": (), "three": ("one",)}, {"three"}),
        ({"one": ("three",), "two": ("three",), "three": ("one", "two")}, {"three"}),
        ({"one": ("two", "three"), "two": (), "three": ()}, {"one"}),
        ({"one": ("two",), "two": ("three",), "three": ("one",)}, {"three", "two"}),
    ],
    ids=["whole", "one says so", "both say so", "cut off from both", "it says so of both", "all apart"],
)
def test_the_fewest_nodes_that_explain_it_are_off(noted: Mapping[str, Sequence[str]], off: set[str]) -> None:
    """So that as few as can be are started again."""
    assert partitioned_off(noted) == off
