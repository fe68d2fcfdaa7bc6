"""Full-text search: what a product is found by, and what a query asks for. Text from clients is text.

Both databases get words alone, made here by one rule, so that they find the same and no parser of theirs is
shown what a stranger wrote.
"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

MAX_WORDS_ASKED: Final = 8
LONGEST_WORD: Final = 64
_WORD: Final = re.compile(r"[^\W_]+")


def words_of(*texts: str) -> Sequence[str]:
    """The words of texts, each once, in one case and form."""
    folded = unicodedata.normalize("NFKC", " ".join(texts)).casefold()
    return list(dict.fromkeys(word[:LONGEST_WORD] for word in _WORD.findall(folded)))


def words_asked(query: str) -> Sequence[str]:
    """The words of a query that count, the first ones."""
    return words_of(query)[:MAX_WORDS_ASKED]


def postgres_query(words: Sequence[str]) -> str:
    """All of the words, each as the beginning of one: a ``tsquery`` as it is written."""
    return " & ".join(f"'{word}':*" for word in words)


def sqlite_query(words: Sequence[str]) -> str:
    """The same for FTS5."""
    return " AND ".join(f'"{word}" *' for word in words)
