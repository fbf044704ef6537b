"""The words of a timeline's item, as a person reads them on the page: what its search compares."""

from collections.abc import Iterator

from escalations.desk import argument_fields
from escalations.desk.entries import Item
from escalations.desk.phrases import happened
from escalations.json_text import arguments_of, has_arguments
from escalations.templatetags.desk import as_read, words_of
from memoryhub.core.unseen import UNSEEN
from memoryhub.memory.search.tokenizer import normalise


def folded(text: str) -> str:
    """A text as it is compared: case, accents, compatibility forms and the kind of white space make no difference."""
    return " ".join(normalise(text).split())


def has_words(item: Item, wanted: str) -> bool:
    """Whether the item, shown whole, reads `wanted` (of folded()) somewhere: its head, its tags, its text.

    A character that cannot be seen is found by the number that stands in its place, and divides no word.
    """
    text = " ".join(_pieces(item))
    return wanted in folded(text) or (UNSEEN.search(text) is not None and wanted in folded(as_read(text)))


def _pieces(item: Item) -> Iterator[str]:
    """What templates/escalations/_item.html shows, in its order; without times and the words of buttons."""
    yield item.author
    yield happened(item)
    owner = (item.data or {}).get("owner")
    if owner and owner != item.author and item.what != "escalation.claim":
        yield f"{owner} had it"
    if item.status not in ("", "active"):
        yield item.status
    if item.kind == "decision":
        yield item.outcome
    if item.about:
        yield "replaces an earlier one" if item.kind == "decision" else "a decision"
    if item.about and item.kind == "state":
        yield item.outcome
    marks = {"private reasoning": item.private, "people only": item.people_only, "pinned": item.pinned}
    yield from (name for name, is_shown in marks.items() if is_shown)
    yield from item.tags
    if item.is_confidential:
        yield item.label
    yield from _body(item)


def _body(item: Item) -> Iterator[str]:
    text = item.text
    if text is None or text.get("unavailable"):
        return
    if item.kind == "decision":
        yield from words_of(text["decision"])
        if text.get("reasoning"):
            yield "because"
            yield from words_of(text["reasoning"])
    elif item.kind == "note":
        yield text["text"]
    elif item.is_memory:
        for value in item.words:
            yield from words_of(value)
    else:
        yield text.get("message") or ""
        if has_arguments(text):
            for row in argument_fields.rows(arguments_of(text)).items:
                yield from (row.label, row.text)
        for name in ("done", "next"):
            if text.get(name):
                yield from (name, text[name])
