"""Postings: the documents of a cell that have a term, as bytes; read and merged as arrays (numpy)."""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# A document's number in its cell, how often it has the term, and its length in words. Big-endian, as int2send() writes.
ENTRY = np.dtype([("number", ">i2"), ("count", "u1"), ("length", ">i2")])
BYTES = ENTRY.itemsize
MAX_DOCS = 32_767  # of a cell
_MOST, _LONGEST = 255, 32_767
_NUMBER_BITS = 16

Entries = NDArray[Any]
Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]


def packed(number: int, length: int, counts: Mapping[str, int]) -> Iterable[tuple[str, bytes]]:
    """The entry of a document for each of its terms."""
    head, tail = struct.pack(">h", number), struct.pack(">h", min(length, _LONGEST))
    for term, count in counts.items():
        yield term, b"%b%c%b" % (head, min(max(count, 1), _MOST), tail)


def without(entries: bytes, numbers: Sequence[int]) -> bytes:
    """The entries without those of these documents."""
    found = np.frombuffer(entries, ENTRY)
    return found[~np.isin(found["number"], numbers)].tobytes()


def merged(entries: Mapping[int, Sequence[bytes]]) -> tuple[Codes, Numbers, Numbers]:
    """The documents of cells that have any of some terms, in order: codes, counts and lengths.

    `entries`: by cell, those of each term. A document with several of the terms counts once, with the sum.
    """
    of_cells = [b"".join(of_terms) for of_terms in entries.values()]
    found = np.frombuffer(b"".join(of_cells), ENTRY)
    cells = np.fromiter(entries, np.int64, len(entries))
    sizes = np.fromiter((len(some) // BYTES for some in of_cells), np.intp, len(of_cells))
    codes = np.repeat(cells << _NUMBER_BITS, sizes) + found["number"]
    counts, lengths = found["count"].astype(np.float64), found["length"].astype(np.float64)
    if any(len(of_terms) > 1 for of_terms in entries.values()):
        codes, places = np.unique(codes, return_inverse=True)
        summed, longest = np.zeros(len(codes)), np.zeros(len(codes))
        np.add.at(summed, places, counts)
        longest[places] = lengths
        return codes, summed, longest
    if (codes[1:] > codes[:-1]).all():
        return codes, counts, lengths
    order = np.argsort(codes, kind="stable")
    return codes[order], counts[order], lengths[order]


def union(some: Sequence[Codes]) -> Codes:
    """The documents of any of these, in order; each is in order. numpy's own unique() hashes, which takes longer."""
    found = np.sort(np.concatenate(some), kind="stable")
    return found[np.concatenate(([True], found[1:] != found[:-1]))] if len(found) else found


def among(codes: Codes, found: Codes) -> NDArray[np.bool_]:
    """Which of the codes are among these, which are in order."""
    return places(codes, found)[1]


def places(codes: Codes, found: Codes) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Where each of the codes is among these, which are in order; and whether it is there."""
    if not len(found):
        return np.zeros(len(codes), np.intp), np.zeros(len(codes), bool)
    if np.array_equal(codes, found):
        return np.arange(len(codes)), np.ones(len(codes), bool)
    at = np.searchsorted(found, codes)
    at[at == len(found)] = 0
    return at, found[at] == codes


def all_of(cell: int, filled: int) -> Codes:
    """All documents that were added to a cell."""
    return (cell << _NUMBER_BITS) + np.arange(filled, dtype=np.int64)


def placed(codes: Codes) -> tuple[list[int], list[int]]:
    """The cells of documents, and their numbers there."""
    return (codes >> _NUMBER_BITS).tolist(), (codes & (1 << _NUMBER_BITS) - 1).tolist()


def as_array(numbers: Iterable[int]) -> str:
    """A parameter of type int[]. psycopg adapts a list number by number, in Python."""
    return f"{{{','.join(map(str, numbers))}}}"


def best(codes: Codes, scores: Numbers, most: int) -> NDArray[np.intp]:
    """The places of the best of these, at most `most`, the best first; of equal ones the newest."""
    if len(scores) > most:
        # Only what may be among them is sorted.
        likely = np.flatnonzero(scores >= np.partition(scores, -most)[-most])
    else:
        likely = np.arange(len(scores))
    return likely[np.lexsort((codes[likely], scores[likely]))[::-1][:most]]
