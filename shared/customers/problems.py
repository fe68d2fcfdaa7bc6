"""The kinds of problem that only routes about customers answer with."""

from typing import Final

from shared.customers.schemas import NameTakenView
from shared.http.problems import ProblemType

NAME_TAKEN: Final = ProblemType(
    name="name-taken",
    status=409,
    title="Another account has that name or address",
    view=NameTakenView,
    example={"field": "email"},
)
