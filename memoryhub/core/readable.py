"""Text as readers see it: without the characters that no one sees, and each letter in one spelling.

A soft hyphen, a zero-width space or a direction mark within a word, a letter and its accent as two characters (as file
names on a Mac are), and the hyphen that does not break, all look the same as the plain word.
"""

import re
import unicodedata
from functools import cache
from typing import NamedTuple

# Default ignorable code points (Unicode, DerivedCoreProperties), except fillers, which take up space.
UNSEEN = (
    r"[\u00ad\u034f\u061c\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    r"\U000e0000-\U000e0fff]+"
)
_UNSEEN = re.compile(UNSEEN)
_HYPHENS = {0x2010: "-", 0x2011: "-"}
MOST_MARKS = 30  # on one letter, as in the Stream-Safe Text Format (UAX 15); ordering them takes their number squared


class Readable(NamedTuple):
    """`text`: what is seen. `places`: of each of its characters, and of its end, the place in the original (None: the
    same).
    """

    text: str
    places: list[int] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the original of a part of the text."""
        return (start, end) if self.places is None else (self.places[start], self.places[end])


def readable(text: str) -> Readable:
    """The text without unseen characters, composed (NFC), with plain hyphens. Linear in the text."""
    if text.isascii():
        return Readable(text)
    found = Readable(text)
    for pattern in (_UNSEEN, _patterns()[0]):
        if pattern.search(found.text):
            found = _replace(found, pattern, len(text), to="")
    if not unicodedata.is_normalized("NFC", found.text):
        found = _replace(found, _patterns()[1], len(text))
    return found._replace(text=found.text.translate(_HYPHENS))


def _replace(found: Readable, pattern: re.Pattern[str], end: int, *, to: str | None = None) -> Readable:
    """Replace each match: by `to`, or by its composed form."""
    places = found.places or range(len(found.text) + 1)
    made: list[str] = []
    moved: list[int] = []
    last = 0
    for match in pattern.finditer(found.text):
        start = match.start()
        new = unicodedata.normalize("NFC", match[0]) if to is None else to
        made += (found.text[last:start], new)
        moved += places[last:start]
        moved += [places[start]] * len(new)
        last = match.end()
    return Readable("".join([*made, found.text[last:]]), [*moved, *places[last:-1], end])


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Marks beyond MOST_MARKS; and a character with what may join it: its marks, or the parts of a Korean syllable."""
    marks = "".join(re.escape(chr(code)) for code in range(0x300, 0x1F000) if unicodedata.combining(chr(code)))
    beyond = f"(?<=[{marks}]{{{MOST_MARKS}}})[{marks}]+"
    return re.compile(beyond), re.compile(
        f"(?:[\u1100-\u115f][\u1160-\u11a7]?[\u11a8-\u11ff]?|[^{marks}])[{marks}]+|[\u1100-\u115f][\u1160-\u11a7][\u11a8-\u11ff]?|[^\0-\u02ff]"
    )
