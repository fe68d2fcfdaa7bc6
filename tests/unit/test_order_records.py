"""Records are read by the names of their fields, so that one round trip brings no more than is read."""

from shared.messages import encode_order
from shared.orders.records import FIELDS, read_record
from tests.harness.examples import an_order


class Noting(dict[str, str]):
    """Fields that note which of them were read, also in vain."""

    def __init__(self, **fields: str) -> None:
        super().__init__(fields)
        self.read: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.read.add(name)
        return super().get(name, default)


def test_every_field_that_a_record_is_read_from_is_asked_for() -> None:
    """One that is not would look as if no order had it."""
    fields = Noting(order=encode_order(an_order("a", cable=1)), status="created", accepted_at="1")
    read_record(fields)
    assert fields.read == set(FIELDS)
