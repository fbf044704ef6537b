"""The forms in which recorded runs arrive: an array, one run alone, an object with `runs`, JSON lines; gzip."""

import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from typing import BinaryIO, NamedTuple

from msgspec import UNSET, Struct, UnsetType

from agents.imports.slices import Slice, Text, count, elements, members, place
from memoryhub.core import work
from memoryhub.core.errors import Code, FieldError, Invalid, TooLarge

MAX_BYTES = 64 * 1024 * 1024  # of an import, decompressed
MAX_IN_FILE = 10_000  # runs of an array; JSON lines may have any number
GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"
_ARRAY = re.compile(rb"\s*+\[")
_STEP = 1024 * 1024
_LINE = re.compile(rb"\S[^\n]*+")  # from its first visible byte, so that spaces are read once


class RunSource(NamedTuple):
    """A run, unread. `pointer`: to it in the body; `line`: where it is a line."""

    text: Text
    pointer: str = ""
    line: int | None = None

    @property
    def name(self) -> str:
        """What a refusal calls it."""
        return "The run" if self.line is None else f"Line {self.line}"


class _Document(Struct):
    runs: Slice = UNSET
    messages: Slice = UNSET


class _Runs(Struct, forbid_unknown_fields=True):
    runs: Slice


def decoded(body: bytes) -> memoryview:
    """The body without a byte order mark. Raises Invalid for an empty one, UTF-16, UTF-32 and gzip, which it names."""
    head = body[:4]
    if not body or body.isspace():
        raise Invalid("The body is empty; send recorded runs.", code=Code.INVALID_JSON)
    if head.startswith(GZIP):
        words = "The body is gzip (again): compress it once, and send it with Content-Encoding: gzip."
        raise Invalid(words, code=Code.INVALID_JSON)
    seen = _other_unicode(head)
    if seen:
        raise Invalid(f"The body is {seen}; send UTF-8.", code=Code.INVALID_JSON)
    return memoryview(body)[len(_BOM) if head.startswith(_BOM) else 0 :]


def _other_unicode(head: bytes) -> str | None:
    """UTF-32 or UTF-16, by its byte order mark, or by the NUL that it has in each ASCII character."""
    if head in (b"\xff\xfe\0\0", b"\0\0\xfe\xff") or (len(head) == 4 and head.count(0) == 3):
        return "UTF-32"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")) or (len(head) > 1 and head[:2].count(0) == 1):
        return f"UTF-16 ({'big' if head[0] in (0, 0xFE) else 'little'}-endian)"
    return None


def is_wrapped(text: memoryview) -> bool:
    """Whether it is an object with `runs`, or one of which nothing is known. Raises Invalid."""
    if _ARRAY.match(text):
        return False
    found = members(text, _Document)
    return found.runs is not UNSET or found.messages is UNSET


def runs_of_document(text: memoryview, most: int) -> list[RunSource]:
    """The runs of an array or of an object that has only `runs`, 1 to `most`; or the one run. Raises Invalid."""
    if _ARRAY.match(text):
        return runs_of_array(text, most)
    return runs_of_array(members(text, _Runs).runs, most, "/runs") if is_wrapped(text) else [RunSource(text)]


def runs_of_array(array: Slice | memoryview, most: int, pointer: str = "") -> list[RunSource]:
    """The runs, 1 to `most`, of the array at `pointer`. Raises Invalid."""
    assert not isinstance(array, UnsetType), "a required member"
    try:
        found = [RunSource(run, f"{pointer}/{index}") for index, run in enumerate(elements(array, most))]
    except Invalid as error:
        raise place(error, pointer, "runs" if pointer else "The body") from None
    refuse_number(len(found), most, pointer)
    return found


def refuse_number(found: int, most: int, pointer: str = "") -> None:
    """Raises Invalid unless there are 1 to `most` runs."""
    if not found:
        raise Invalid(errors=(FieldError(pointer, Code.EMPTY, "There is no run here."),))
    if found > most:
        raise Invalid(errors=(FieldError(pointer, Code.TOO_LONG, f"Send at most {most} runs at once."),))


def runs_of_lines(text: memoryview) -> Iterator[RunSource]:
    """A run for each line that is not blank."""
    number, seen = 1, 0
    for index, found in enumerate(_LINE.finditer(text)):
        number += count(text, b"\n", seen, found.start())
        seen = found.start()
        yield RunSource(text[found.start() : found.end()], f"/{index}", number)


def is_lines(text: memoryview) -> bool:
    """Whether a file has a run per line: its first line is one, or else its second."""
    lines = [line.text for line in islice(runs_of_lines(text), 2)]
    return bool(lines) and bytes(lines[0][:1]) != b"[" and any(map(_is_run, lines))


def _is_run(line: Text) -> bool:
    try:
        return members(line, _Document).runs is UNSET
    except Invalid:
        return False


def read_sources(file: BinaryIO) -> Iterator[RunSource]:
    """The runs of a file: JSON lines, which may be of any size in all, or a document of up to MAX_BYTES.

    Raises Invalid; TooLarge for a longer file whose first two lines are none.
    """
    head = file.read(MAX_BYTES + 1)
    text = decoded(head)
    if len(head) <= MAX_BYTES:
        return runs_of_lines(text) if is_lines(text) else iter(runs_of_document(text, MAX_IN_FILE))
    if not is_lines(text):
        raise TooLarge(f"The body is larger than {MAX_BYTES} bytes, and has no run per line.")
    file.seek(len(head) - len(text))
    return _read_lines(file)


def _read_lines(file: BinaryIO) -> Iterator[RunSource]:
    """A run for each line that is not blank; one that is too long is cut after MAX_BYTES + 1."""
    number = 0
    while line := file.readline(MAX_BYTES + 1):
        number += 1
        end = line
        while len(end) > MAX_BYTES and not end.endswith(b"\n"):
            end = file.readline(MAX_BYTES + 1)
        if line.strip():
            yield RunSource(memoryview(line), line=number)


def gunzip(body: bytes) -> bytes:
    """What was compressed. Raises Invalid for what is no whole gzip, TooLarge beyond MAX_BYTES, of which no more than
    1 MiB is decompressed first, and for more than 1000 members.
    """
    made, taken = BytesIO(), 0
    for _ in range(1000):
        inflating = zlib.decompressobj(wbits=31)
        while not inflating.eof:
            work.check()
            given = body[taken : taken + _STEP]
            try:
                found = inflating.decompress(given, _STEP)
            except zlib.error as error:
                raise Invalid(f"The body is not gzip: {error}.", code=Code.INVALID_JSON) from None
            taken += len(given) - len(inflating.unconsumed_tail) - len(inflating.unused_data)
            if not found and not given:
                raise Invalid("The gzip ends before its end: it is truncated.", code=Code.INVALID_JSON)
            if made.write(found) and made.tell() > MAX_BYTES:
                raise TooLarge(f"The body is larger than {MAX_BYTES} bytes when decompressed.")
        if taken == len(body):
            return made.getvalue()
    raise TooLarge("The gzip has more than 1000 members; compress it as one.")
