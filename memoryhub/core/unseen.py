"""Characters that one cannot see, made visible: in text that is shown, and in inputs, whose text is read back."""

import re

# Controls but tab and line feed, bidi marks and overrides, invisible characters, fillers, tags. The joiners, which
# scripts and emoji need, only beside what is neither.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u2800\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f])"
)
# What looks like a space and is another character, and what looks like the mark of one.
_SPACE = re.compile("[\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]|⟨(?=U\\+)")
_MARK = re.compile("⟨U\\+([0-9A-F]{4,6})⟩")


def number_of(character: str) -> str:
    """`U+202E`"""
    return f"U+{ord(character):04X}"


def show(text: str) -> str:
    """The text for an input: each unseen character as a mark such as `⟨U+202E⟩`. `read` gives the text back."""
    return UNSEEN.sub(lambda found: f"⟨{number_of(found[0])}⟩", text)


def show_spaces(text: str) -> str:
    """The text, in which each space that is not the usual one is a mark. To be read only."""
    return _SPACE.sub(lambda found: f"⟨{number_of(found[0])}⟩", text)


def read(text: str) -> str:
    """The text that an input's text stands for: marks of unseen characters are these characters again."""
    return _MARK.sub(_character, text)


def _character(mark: re.Match[str]) -> str:
    code = int(mark[1], 16)
    found = chr(code) if 0 < code <= 0x10FFFF else ""
    return found if UNSEEN.fullmatch(found) else mark[0]


def is_reversible(text: str) -> bool:
    """Whether `read` gives this text back after `show`: not where it holds, by chance, what looks like a mark."""
    return read(text) == text


def escape(json_text: str) -> str:
    r"""JSON text in which each unseen character of a string is its escape, such as `\u202e`; the same value."""
    return UNSEEN.sub(_escaped, json_text)


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
