"""The kind of problem that only the pages about orders answer with."""

from typing import Final

from shared.http.problems import ProblemType

NOT_MOVED: Final = ProblemType(name="not-moved", status=409, title="The order was not moved")
