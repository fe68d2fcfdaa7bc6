"""What counts as a line of code."""

import pytest

from tests.size import code_lines

PYTHON = '''"""A module."""

# a comment
LIMIT = 3  # code with one
"""What it bounds."""


def double(text: str) -> str:
    """Twice."""
    return (
        text

        + """
   of two lines"""
    )
'''
LUA = "-- claims\n\nlocal a = 1 -- one\n  -- two\nreturn a\n"


@pytest.mark.parametrize(("name", "text", "lines"), [("a.py", PYTHON, 7), ("a.lua", LUA, 2)])
def test_blank_lines_comments_and_docstrings_are_not_code(name: str, text: str, lines: int) -> None:
    """Strings and expressions over several lines are."""
    assert code_lines(name, text) == lines
