"""What readers do not see hides no word: unseen characters, and letters spelt apart, in texts and in queries."""

import time
import unicodedata
from typing import Any

import pytest

from tests.support.api import Api
from tests.support.searching import ask, exact, found, hits, remember

UNSEEN = {
    "soft hyphen": "\u00ad",
    "grapheme joiner": "\u034f",
    "Arabic letter mark": "\u061c",
    "zero-width space": "\u200b",
    "zero-width non-joiner": "\u200c",
    "zero-width joiner": "\u200d",
    "left-to-right mark": "\u200e",
    "right-to-left mark": "\u200f",
    "embedding": "\u202a",
    "override": "\u202e",
    "pop": "\u202c",
    "word joiner": "\u2060",
    "isolate": "\u2066",
    "pop isolate": "\u2069",
    "byte order mark": "\ufeff",
    "text selector": "\ufe0e",
    "emoji selector": "\ufe0f",
    "further selector": "\U000e0100",
}
SIGNS = pytest.mark.parametrize("sign", UNSEEN.values(), ids=UNSEEN.keys())


def nfd(text: str) -> str:
    """Each letter apart from its marks, as a Mac's file names are."""
    return unicodedata.normalize("NFD", text)


def marks(hit: Any) -> list[str]:
    """What is highlighted in a hit's snippet."""
    return [hit["snippet"][start:end] for start, end in hit["highlights"]]


@SIGNS
def test_an_unseen_character_in_a_stored_word_hides_it_from_no_query(api: Api, sign: str) -> None:
    """Fails when text from a web page or a word processor is found by nobody who types what it looks like."""
    text = f"before the cor{sign}mor{sign}ant {sign}flies{sign} 退{sign}款 HAT{sign}-12{sign}34 after"
    remember(api, text, "something else")
    for query, shown in {
        "cormorant": f"cor{sign}mor{sign}ant",
        "退款": f"退{sign}款",
        "HAT-1234": f"HAT{sign}-12{sign}34",
        "flies": "flies",
    }.items():
        (hit,) = hits(api, query)
        assert hit["snippet"] == text
        (marked,) = marks(hit)
        assert marked.strip(sign) == shown, query
    assert exact(api, '"the cormorant flies"') == [text]
    assert found(api, "cormo") == [text]


@SIGNS
def test_an_unseen_character_in_a_query_hides_no_row(api: Api, sign: str) -> None:
    """Fails when a word that was copied into the query with its unseen characters finds nothing."""
    text = "before the cormorant flies 退款 HAT-1234 after"
    remember(api, text, "something else")
    for query, shown in {
        f"cor{sign}mor{sign}ant": "cormorant",
        f"{sign}cormorant{sign}": "cormorant",
        f"退{sign}款": "退款",
        f"HAT{sign}-12{sign}34": "HAT-1234",
    }.items():
        (hit,) = hits(api, query)
        assert marks(hit) == [shown], query
    assert exact(api, f'"the{sign} cor{sign}morant flies"') == [text]
    assert exact(api, f'{sign}"the cormorant flies"') == [text]
    assert found(api, f"before -cor{sign}morant") == []


@SIGNS
def test_a_query_of_unseen_characters_alone_is_an_empty_one(api: Api, sign: str) -> None:
    """Fails when what looks like an empty query is answered otherwise than one, or finds rows."""
    remember(api, f"a {sign} b{sign}")
    assert ask(api, sign).refusal == ask(api, " ").refusal == (400, "invalid")
    assert found(api, f'"{sign}" - {sign * 3}') == []


HYPHENS = pytest.mark.parametrize("hyphen", ["\u2010", "\u2011"], ids=["hyphen", "non-breaking hyphen"])


@HYPHENS
def test_hyphens_that_look_alike_are_alike(api: Api, hyphen: str) -> None:
    """Fails when an identifier with a typographic hyphen is another one than the plain one."""
    plain, typeset = "ticket HAT-1234 is open", f"ticket HAT{hyphen}1234 is shut"
    remember(api, plain, typeset, "1234 hats")
    for query in ("HAT-1234", f"HAT{hyphen}1234", f"hat{hyphen}1234"):
        told = hits(api, query)
        assert {hit["row"]["content"] for hit in told} == {plain, typeset}, query
        assert sorted(map(marks, told)) == [["HAT-1234"], [f"HAT{hyphen}1234"]]
    assert set(exact(api, f'"ticket HAT{hyphen}1234"')) == {plain, typeset}


APART = {
    "Latin": ("Müller café Ångström", "cafés Muller"),
    "Vietnamese": ("Việt Nam đường phố", "phở"),
    "Polish": ("Łódź źródło święto", "zrodla"),
    "Korean": ("항공권을 변경해 주세요", "호텔"),
    "Japanese": ("航空券をキャンセルすべきだ。ガ・パ・ヴ", "ホテル"),
    "Greek": ("το ταξίδι στην Αθήνα", "πλοίο"),
    "Cyrillic": ("мой любимый чай", "кофе"),
}


@pytest.mark.parametrize("text", [text for text, _ in APART.values()], ids=APART.keys())
def test_letters_spelt_apart_are_found_by_whole_ones_and_the_other_way_round(api: Api, text: str) -> None:
    """Fails when what was written on a Mac is not found from a PC, or is marked at the wrong place."""
    apart = nfd(text)
    assert apart != text
    remember(api, f"x {text} y", f"x {apart} y", "something else")
    expected = {f"x {text} y", f"x {apart} y"}
    for word in text.split():
        for query in (word, nfd(word)):
            told = hits(api, query)
            assert {hit["row"]["content"] for hit in told} == expected, query
            for hit in told:
                marked = [unicodedata.normalize("NFC", mark) for mark in marks(hit)]
                assert marked, query
                assert all(mark in text for mark in marked), query
    for phrase in (text, apart):
        assert set(exact(api, f'"{phrase}"')) == expected


def test_a_mark_is_never_cut_from_its_letter(api: Api) -> None:
    """Fails when a highlight ends within a letter, whose accent then stands on nothing."""
    text = nfd("der Müller geht ins Café, 한국 호텔へがんばる")
    remember(api, text)
    for query, shown in {"müller": "Müller", "cafe": "Café", "한국": "한국", "がん": "がん"}.items():
        (hit,) = hits(api, query)
        assert marks(hit) == [nfd(shown)], query


def test_an_emojis_selector_and_joiner_change_nothing(api: Api) -> None:
    """Fails when a word beside an emoji is found only with the same emoji, spelt in the same way."""
    remember(api, "done\u2714\ufe0f by 👩\u200d🔧 the cormorant❤\ufe0e")
    for query in ("done", "done\ufe0f", "cormorant", "cormorant❤\ufe0f", '"done by the cormorant"'):
        assert len(exact(api, query)) == 1, query


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("cormorant", "cor\u00admorant"),
        ("angstrom", "A\u030angstro\u0308m"),
        ("Ångström", "A\u030angstro\u0308m"),
        ("ostereich", "Östereich"),
        ("hotel", "ＨＯＴＥＬ"),
        ("istanbul", "İstanbul"),
        ("한국", nfd("한국")),
        ("чайка", nfd("Чайка")),
        ("HAT-1234", "HAT\u20111234"),
    ],
)
def test_a_word_far_into_a_text_is_shown_and_marked(api: Api, query: str, shown: str) -> None:
    """Fails when places are counted in what is seen, or the word is looked for in another form than it is found by."""
    remember(api, "\u200bf\u00adi\u00adll " * 2_000 + f"see {shown} now " + "e\u0301 " * 300)
    for q in (query, f'"see {query}"'):
        (hit,) = hits(api, q)
        assert marks(hit)[-1] == (shown if q == query else shown.rpartition("\u2011")[2])  # phrases mark single words
        assert len(hit["snippet"]) < 260


@pytest.mark.parametrize("count", [31, 400, 60_000])
def test_very_many_marks_on_a_letter_are_fast_and_do_not_hide_the_next_word(api: Api, count: int) -> None:
    """Fails when decorated text stops the indexer, or a search that shows it, for seconds."""
    pile = ("\u0301\u0316\u0327\u0345" * count)[:count]
    remember(api, f"a{pile} gannet z{pile}algo {'o' + pile[:40]} ガ{pile[:40]}ギ")
    before = time.thread_time()
    assert len(found(api, "gannet")) == 1
    assert len(found(api, f"gannet a{pile[:100]}")) == 1
    assert time.thread_time() - before < 3


def test_a_word_under_many_marks_is_found_without_them(api: Api) -> None:
    """Fails when decorated letters are no letters."""
    remember(api, "c\u0301\u0316" + "\u0301" * 40 + "ormorant\u0336\u0336\u0336")
    assert len(found(api, "cormorant")) == 1
