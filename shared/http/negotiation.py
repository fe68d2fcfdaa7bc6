"""Which media type a caller prefers, by the one rule that all of the HTTP ports share.

Another type than JSON is answered only to those who *name* it with a q at least as high as JSON's. Wildcards
mean JSON, so that curl and browsers get it.
"""

from collections.abc import Sequence
from typing import Final

JSON: Final = "application/json"


def preferred(accept: str, named: Sequence[str]) -> str:
    """The best of ``named`` where ``accept`` names it with a q at least as high as JSON's, else JSON.

    ``accept`` is the header's value, several of them joined by commas; ``named`` are lower-case types, and
    the first one wins among equals.
    """
    accept = accept.lower()
    if not any(media_type in accept for media_type in named):
        return JSON
    qualities = _qualities(accept)
    q_of_json = next((qualities[name] for name in (JSON, "application/*", "*/*") if name in qualities), 0.0)
    best = max(named, key=lambda media_type: qualities.get(media_type, 0.0))
    q_of_best = qualities.get(best, 0.0)
    return best if q_of_best > 0 and q_of_best >= q_of_json else JSON


def _qualities(accept: str) -> dict[str, float]:
    qualities: dict[str, float] = {}
    for media_range in accept.split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        qualities[media_type] = max(qualities.get(media_type, 0.0), _number(quality))
    return qualities


def _number(quality: str) -> float:
    try:
        return min(float(quality), 1.0)
    except ValueError:
        return 0.0
