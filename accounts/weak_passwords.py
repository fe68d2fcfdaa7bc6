"""Passwords that guessing tries first.

A list of whole passwords would be long and still lack most: those that people choose are a common word with a
few characters before or after it, a walk over the keyboard, or a short piece said again and again. So these
are what is looked for, with the usual look-alikes of letters read as letters.
"""

import re
from collections.abc import Sequence
from typing import Final

LONGEST_AFFIX: Final = 6
"""What stands around a common word is as easily guessed, up to so many characters: a year and two marks."""
LONGEST_PIECE: Final = 5

_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """
        abc access admin administrator alex alexander amanda america andrea andrew angel angels anthony
        apple arsenal ashley august austin baby babygirl bailey banana barcelona baseball basketball
        batman beautiful blessed blink bonjour brandon bubbles buster butterfly cameron carlos changeme
        charlie cheese chelsea chicken chocolate christian computer cookie cowboys daniel database
        december default diamond diana dolphin donald dragon eagles elizabeth eminem family fashion
        february ferrari flower football forever formula freedom friend friends gabriel gateway george
        ginger godzilla google gorgeous guest guitar hannah happy harley heather hello hockey home hunter
        iloveu iloveyou internet january jasmine jennifer jessica jesus jonathan jordan joseph joshua
        justin killer king knight letmein linkedin liverpool london longpassword love lovely loveme
        loveyou lucky madison maggie manager manchester master matrix matthew maverick mercedes merlin
        michael michelle mickey microsoft midnight minecraft money monkey monster morgan mother mustang
        mypassword naruto natalie newyork nicole nothing november october oliver orange pa pass passcode
        passphrase passw password passwords patrick peaches pepper phoenix player pokemon princess pumpkin
        purple qazwsx qwerty qwertyuiop rabbit rachel raiders rainbow realmadrid rebecca robert rockyou
        ronaldo root samantha samsung scooter secret security september server service shadow silver
        simple slipknot snoopy soccer softball sophie spiderman spring startrek starwars steelers
        stephanie success summer sunflower sunshine superman superstar sweet sweetheart system taylor temp
        temporary tennis test testing testtest thomas thunder tigger tinkerbell trustno trustnoone tweety
        unicorn user username vanessa victoria victory wachtwoord webmaster welcome whatever william
        winner winter wizard yankees yellow zaq
        """,
    )
)
_ROWS: Final = (
    "01234567890",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiop",
    "qwertzuiop",
    "asdfghjkl",
    "zxcvbnm",
    "yxcvbnm",
    "azertyuiop",
    "qsdfghjklm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "1qaz2wsx3edc4rfv5tgb6yhn",
    "qazwsxedcrfvtgbyhnujmikolp",
    "zaq12wsxcde34rfv",
    "!@#$%^&*()_+",
)
_WALKS: Final = (*_ROWS, *(row[::-1] for row in _ROWS))
_SHORTEST_STEP: Final = 3
_LETTERS: Final = str.maketrans("@4301!|$57", "aaeoiiisst")
_MARKS: Final = re.compile(r"^[^a-z]+|[^a-z]+$")


def is_common(password: str, own: Sequence[str] = ()) -> bool:
    """Whether guessing soon comes to it. ``own`` are names of its owner, which count as common words."""
    plain = password.lower()
    words = _WORDS.union(name.lower() for name in own)
    if _repeats(plain):
        return True
    rest = plain
    while not (_is_a_word(rest, words) or _is_a_word(rest.translate(_LETTERS), words)):
        shorter = _without_walk(rest)
        if shorter == rest:
            return False
        rest = shorter
    return True


def _is_a_word(text: str, words: frozenset[str]) -> bool:
    """Whether it is one, or one said twice, or nothing at all, within a few marks and digits."""
    bare = _MARKS.sub("", text)
    word = bare.translate(_LETTERS)
    half = len(word) // 2
    root = word[:half] if word[:half] == word[half:] else word
    return len(text) - len(bare) <= LONGEST_AFFIX and (root in words or not root)


def _without_walk(text: str) -> str:
    """The text without a walk that it ends or begins with."""
    if length := _walk_length(text[::-1]):
        return text[:-length]
    return text[_walk_length(text) :]


def _walk_length(text: str) -> int:
    """How long a walk is that the text begins with."""
    lengths = range(len(text), _SHORTEST_STEP - 1, -1)
    return next((size for size in lengths if any(text[:size] in walk for walk in _WALKS)), 0)


def _repeats(text: str) -> bool:
    return any((text[:size] * len(text))[: len(text)] == text for size in range(1, LONGEST_PIECE + 1))
