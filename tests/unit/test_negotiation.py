"""A type other than JSON is for those who name it."""

import pytest

from shared.http.negotiation import JSON, preferred

TEXT = "text/plain"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/*", JSON),
        ("image/png", JSON),
        (TEXT, TEXT),
        ("TEXT/Plain", TEXT),
        ("text/plain;charset=utf-8", TEXT),
        ("text/plain, */*", TEXT),
        ("text/plain, application/json", TEXT),
        ("application/json, text/plain", TEXT),
        ("application/json, text/plain;q=0.9", JSON),
        ("application/json;q=0.5, text/plain;q=0.5", TEXT),
        ("text/plain;q=0.5, */*;q=0.1", TEXT),
        ("text/plain;q=0.5, */*", JSON),
        ("text/plain;q=0.5, application/*;q=0.6", JSON),
        ("application/json;q=0.2, */*, text/plain;q=0.5", TEXT),
        ("text/plain;q=0", JSON),
        ("text/plain;q=nonsense", JSON),
        ("text/plain ; q=1 , */*", TEXT),
        (",,;;,text/plain", TEXT),
        ("text/plainer", JSON),
    ],
)
def test_only_a_named_type_with_a_q_as_high_as_json_wins(accept: str, expected: str) -> None:
    """Wildcards mean JSON."""
    assert preferred(accept, (TEXT,)) == expected


def test_the_best_of_several_named_types_wins() -> None:
    """By q; among equals the first that is offered."""
    named = (TEXT, "application/openmetrics-text")
    assert preferred("application/openmetrics-text;q=0.9,text/plain;q=0.5", named) == named[1]
    assert preferred("application/openmetrics-text,text/plain", named) == TEXT
