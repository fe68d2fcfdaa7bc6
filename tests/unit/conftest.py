"""What holds for tests of single pieces."""

import pytest


@pytest.fixture(autouse=True)
def hurried(no_pauses: None) -> None:
    """None of them waits for a backoff."""
