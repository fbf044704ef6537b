"""An action's arguments on the desk: as rows of typed values, as a form of typed inputs, and what was changed in it.

Everything is read from the JSON text that the agent sent and goes back into it value by value, so that what a person
does not touch keeps its exact value, type and place.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from typing import Any

from django.utils.html import escape

from escalations.json_text import Number, Path, parse, write
from escalations.templatetags.desk import plain
from memoryhub.core import unseen, work
from memoryhub.core.errors import Code, FieldError, HubError, Invalid, NotFound
from memoryhub.interface.http.json import dump, parse_object

PREFIX = "arguments"
PAGE, MORE, MAX_DEPTH = 60, 500, 6
LONG = 80  # characters from which on a text gets several lines
LONGEST = 2_000  # characters of a value in a list; alone it is whole
TOO_LONG = 20_000  # characters of an input that is opened on request
LONG_NAME = 200  # characters of a name in a list; where its value is opened it is whole
ROOM = 256 * 1024  # characters of HTML from which on a page ends earlier
_ABSENT = object()
_NAME = re.compile(r'[^\s›"]+(?: [^\s›"]+)*')
_WHOLE = re.compile(r"-?[0-9]+")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
}
_UNCHECKED = ("format", "pattern")  # docs/action-schemas.md
# What the page calls the type of an input's value.
_TYPES = {
    "text": "text",
    "long": "text",
    "lines": "list of texts, one a line",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "choice": "one of a list",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One input. `kind`: text, long, lines, integer, number, boolean, choice or json; `value` as it stands there."""

    number: int
    path: Path
    kind: str
    value: str
    type: str
    choices: tuple[tuple[str, str], ...] = ()
    required: bool = False
    present: bool = True
    help: str = ""

    @property
    def name(self) -> str:
        """Of the input: `arguments/order/amount`."""
        return _name(self.number, self.path)

    @property
    def is_long(self) -> bool:
        """Whether its value is too long for a list."""
        return len(self.value) > TOO_LONG

    @property
    def is_folded(self) -> bool:
        """Whether the form opens it on request only."""
        return self.is_long or _is_cut(self.path) or sum(len(value) for value, _ in self.choices) > TOO_LONG

    @property
    def size(self) -> int:
        """About how many characters of HTML it takes."""
        inside = [] if self.is_folded else [self.name, self.value, *chain.from_iterable(self.choices)]
        return len(plain(self.label)) + len(plain(self.help)) + len(escape("".join(inside)))

    @property
    def id(self) -> str:
        return f"argument-{self.number}"

    @property
    def label(self) -> str:
        return _label(self.path)

    @property
    def whole_label(self) -> str:
        return _whole_label(self.path)


@dataclass(frozen=True, slots=True)
class ShownValue:
    """One value to be read. `text`: in quotes when it is a text, else its JSON; `more`: characters that were cut."""

    number: int
    label: str
    text: str
    more: int = 0

    @property
    def size(self) -> int:
        """How many characters of HTML it takes."""
        return len(plain(self.label)) + len(plain(self.text))


@dataclass(frozen=True, slots=True)
class FieldPage:
    """Some of the rows or inputs; `next`: the number of the first that follows, None at the end; `more`: how many."""

    items: list[Any]
    next: int | None
    more: int


Leaf = tuple[Path, Any, dict[str, Any], bool]


def rows(text: str, start: int = 0, *, size: int = PAGE) -> FieldPage:
    """The values in the arguments' text, from the one of this number on; long ones are cut."""
    leaves = _leaves(parse(text), {}, ())
    return _page(leaves, start, size, _row)


def whole_row(text: str, number: int) -> FieldPage:
    """The value of this number, whole and alone. Raises NotFound."""
    found = next(islice(_leaves(parse(text), {}, ()), number, None), None)
    if found is None:
        raise NotFound()
    return FieldPage([ShownValue(number, _whole_label(found[0]), _text(found[1]))], None, 0)


def fields(text: str, schema: Any, start: int = 0, *, size: int = PAGE) -> FieldPage:
    """The inputs for the arguments' text; what the schema names and the agent left out is offered, too."""
    leaves = _leaves(parse(text), schema if isinstance(schema, dict) else {}, ())
    return _page(leaves, start, size, _field)


def _page(leaves: Iterator[Leaf], start: int, size: int, make: Callable[[int, Leaf], Any]) -> FieldPage:
    """Up to `size` of them, and fewer where they take ROOM."""
    items: list[Any] = []
    room = ROOM
    for number, leaf in enumerate(islice(leaves, start, start + size), start):
        items.append(make(number, leaf))
        room -= items[-1].size
        if room <= 0:
            break
    more = sum(1 for _ in leaves)
    return FieldPage(items, start + len(items) if more else None, more)


def _row(number: int, leaf: Leaf) -> ShownValue:
    path, text = leaf[0], _text(leaf[1])
    more = len(text[LONGEST:]) + sum(len(name[LONG_NAME:]) for name in path)
    return ShownValue(number, _label(path), text[:LONGEST], more)


def _text(value: Any) -> str:
    is_text = isinstance(value, str) and not isinstance(value, Number)
    return unseen.show_spaces(f'"{value}"' if is_text else write(value))


def _label(path: Path) -> str:
    return _whole_label(tuple(name if len(name) <= LONG_NAME else f"{name[:LONG_NAME]}…" for name in path))


def _whole_label(path: Path) -> str:
    return " › ".join(map(_step, path))


def _step(name: str) -> str:
    """A name as it is, or as JSON text where it could be taken for another, or for several."""
    return name if _NAME.fullmatch(name) else unseen.show_spaces(_json(name))


def _is_cut(path: Path) -> bool:
    return any(len(name) > LONG_NAME for name in path)


def _leaves(node: Mapping[str, Any], schema: dict[str, Any], path: Path) -> Iterator[Leaf]:
    properties, required = _rules(schema)
    for name in dict.fromkeys([*node, *properties]):
        work.check()
        value, rule = node.get(name, _ABSENT), _rule(properties, name)
        here = (*path, name)
        if isinstance(value, dict) and value and len(here) < MAX_DEPTH:  # its members are inputs of their own
            yield from _leaves(value, rule, here)
        else:
            yield here, value, rule, name in required


def _rules(schema: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    properties, required = schema.get("properties"), schema.get("required")
    return properties if isinstance(properties, dict) else {}, required if isinstance(required, list) else []


def _rule(properties: dict[str, Any], name: str) -> dict[str, Any]:
    rule = properties.get(name)
    return rule if isinstance(rule, dict) else {}


def _field(number: int, leaf: Leaf) -> Field:
    path, value, rule, required = leaf
    kind = _kind(value, rule)
    choices: tuple[tuple[str, str], ...] = ()
    if kind == "choice":
        choices = _choices(rule["enum"])
    elif kind == "boolean":
        choices = (("true", "true"), ("false", "false"))
    said = rule.get("description")
    return Field(
        number=number,
        path=path,
        kind=kind,
        value=_shown(value, kind),
        type=_TYPES.get(kind) or _type(value),
        choices=choices,
        required=required,
        present=value is not _ABSENT,
        help=" ".join([said[:300] if isinstance(said, str) else "", _bounds(rule)]).strip(),
    )


def _choices(enum: list[Any]) -> tuple[tuple[str, str], ...]:
    """Each as JSON text; shown without quotes where all of them are texts."""
    tokens = [unseen.escape(_json(value)) for value in enum]
    bare = all(isinstance(value, str) for value in enum)
    return tuple((token, token[1:-1] if bare else token) for token in tokens)


def _type(value: Any) -> str:
    if value is None:
        return "null, or other JSON"
    if isinstance(value, dict | list):
        return f"{'list' if isinstance(value, list) else 'object'}, as JSON"
    return "JSON, a text in quotes"


def _shown(value: Any, kind: str) -> str:
    if value is _ABSENT:
        return ""
    if kind == "lines":
        return "\n".join(value)
    return unseen.show(value) if kind in ("text", "long") else unseen.escape(write(value))


def _kind(value: Any, rule: dict[str, Any]) -> str:
    enum = rule.get("enum")
    if isinstance(enum, list) and 0 < len(enum) <= 100 and (value is _ABSENT or write(value) in map(_json, enum)):
        return "choice"
    declared = rule.get("type")
    if value is _ABSENT:
        names = {"string": "text", "integer": "integer", "number": "number", "boolean": "boolean"}
        return names.get(declared, "json") if isinstance(declared, str) else "json"
    if isinstance(value, Number):
        return "integer" if _WHOLE.fullmatch(value) and declared != "number" else "number"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        if not unseen.is_reversible(value):
            return "json"
        return "long" if len(value) > LONG or "\n" in value else "text"
    return "lines" if _is_lines(value) else "json"


def _is_lines(value: Any) -> bool:
    return isinstance(value, list) and value != [] and all(type(part) is str and _is_line(part) for part in value)


def _is_line(text: str) -> bool:
    return text.strip() != "" and text.isprintable() and unseen.is_reversible(text)


def _bounds(rule: dict[str, Any]) -> str:
    found = [f"{word} {rule[name]}" for name, word in _BOUNDS.items() if isinstance(rule.get(name), int | float)]
    found += [f"{name} {rule[name][:60]} is not checked here" for name in _UNCHECKED if isinstance(rule.get(name), str)]
    return f"({', '.join(found)})" if found else ""


def _json(value: Any) -> str:
    return dump(value).decode()


def changes(text: str, schema: Any, posted: Mapping[str, str]) -> dict[Path, str]:
    """What was changed in the form: path -> the value's JSON text; `posted`: input name -> text. Raises Invalid.

    An input that was not sent, or comes back as the form shows it, changes nothing; one of an absent argument that was
    left empty adds none.
    """
    leaves = enumerate(_leaves(parse(text), schema if isinstance(schema, dict) else {}, ()))
    inputs = {name: (number, leaf) for number, leaf in leaves if (name := _name(number, leaf[0])) in posted}
    made: dict[Path, str] = {}
    faults: list[FieldError] = []
    for name, typed in posted.items():
        if name not in inputs:
            faults.append(FieldError(f"/{name}", Code.BAD_FORMAT, "The action has no such argument."))
            continue
        field = _field(*inputs[name])
        try:
            if typed != field.value and (typed != "" or field.present):
                made[field.path] = _value(field, typed)
        except ValueError as error:
            faults.append(FieldError(f"/{name}", Code.BAD_FORMAT, f"{field.label}: {error}"))
    if faults:
        raise Invalid(errors=tuple(faults[:20]))
    return made


def _name(number: int, path: Path) -> str:
    """An input's: its argument's path, and where a name in it is long, its number, since an action never changes."""
    return "/".join([PREFIX, *([f"~n{number}"] if _is_cut(path) else map(_as_step, path))])


@lru_cache(256)  # of 200 characters at most; a few names stand above thousands of others
def _as_step(name: str) -> str:
    """An argument's name as one step of an input's: a JSON pointer's (RFC 6901), and nothing that a browser changes."""
    return unseen.show(name.replace("~", "~0").replace("/", "~1").replace("⟨", "~2")).replace("\n", "~3")


def _value(field: Field, text: str) -> str:
    """What was typed, as the JSON text of a value of the input's kind. Raises ValueError."""
    if field.kind in ("text", "long"):
        return _json(unseen.read(text))
    if field.kind == "lines":
        return _json([unseen.read(line) for line in text.split("\n") if line.strip()])
    text = text.strip()
    if field.kind in ("integer", "number"):
        return _number(text, whole=field.kind == "integer")
    if field.kind == "choice" and text not in [value for value, _ in field.choices]:
        raise ValueError("choose one of the list.")
    if field.kind == "boolean" and text not in ("true", "false"):
        raise ValueError("choose true or false.")
    return _checked(text)


def _number(text: str, *, whole: bool) -> str:
    text = re.sub(r"^(-?)0+(?=[0-9])", r"\1", text.removeprefix("+"))
    if not (_WHOLE if whole else _NUMBER).fullmatch(text):
        raise ValueError("a whole number is due." if whole else "a number is due.")
    return _checked(text, "this number is too large, or too close to 0.")


def _checked(text: str, said: str = "this is not valid JSON; a text stands in quotes.") -> str:
    try:
        parsed = parse_object(b'{"value":' + text.encode() + b"}")
    except (HubError, UnicodeEncodeError) as error:
        raise ValueError(said) from error
    if list(parsed) != ["value"]:
        raise ValueError(said)
    return text
