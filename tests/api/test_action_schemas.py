"""The schema of an action: what clients' libraries emit is held, as JSON Schema says, at a bounded cost."""

from __future__ import annotations

import time
import tracemalloc
from random import Random
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from escalations.action_schemas import documents
from escalations.actions import answers, claims
from memoryhub.core.errors import HubError
from tests.support import client_schemas as clients
from tests.support.api import Api, Reply
from tests.support.factories import Person, unique

ARGUMENTS = {"order": "o-1", "amount": 5}


def ask(api: Api, schema: Any, arguments: Any = ARGUMENTS) -> Reply:
    key = unique("t")
    api.make("tasks", {"key": key, "title": "T"})
    return api.post(
        "escalations",
        {
            "task": key,
            "reason_code": "approval_required",
            "reason": "Above the limit.",
            "question": "May I?",
            "allowed": ["edit", "respond"],
            "action": {"name": "refund", "arguments": arguments, "schema": schema},
        },
    )


def applied(node: Any) -> Any:
    """A schema for the library to judge by: without what is taken and not applied."""
    if isinstance(node, list):
        return [applied(part) for part in node]
    if not isinstance(node, dict):
        return node
    left_out = {"pattern", "format"}
    if isinstance(node.get("patternProperties"), dict):
        left_out |= {"patternProperties", "additionalProperties"}
    return {name: applied(value) for name, value in node.items() if name not in left_out}


def test_what_pydantic_zod_and_openai_emit_is_taken_and_judged_as_the_library_judges_it() -> None:
    random = Random(8)
    emitted = [clients.of_pydantic(number, random) for number in range(200)]
    emitted += clients.ZOD_4 + clients.ZOD_3 + clients.OPENAI
    verdicts = {True: 0, False: 0}
    for schema in emitted:
        is_draft_7 = schema in clients.ZOD_3
        library = (Draft7Validator if is_draft_7 else Draft202012Validator)(applied(schema))
        for _ in range(12):
            # As it comes in: parsed anew, so that no two equal parts are one object.
            value = orjson.loads(orjson.dumps(clients.near(schema, schema, random)))
            taken = orjson.loads(orjson.dumps(schema))
            assert documents.check(taken, value) is None, schema
            faults = documents.faults(taken, value)
            assert (not faults) is library.is_valid(value), (schema, value, faults)
            verdicts[not faults] += 1
    assert min(verdicts.values()) > 500, verdicts  # neither is rare, so each was really judged


def test_emitted_schemas_pass_the_door(api: Api) -> None:
    for schema in (*clients.ZOD_4, *clients.ZOD_3, *clients.OPENAI, clients.of_pydantic(1, Random(1))):
        assert ask(api, schema, {}).status == 201, schema


OUTSIDE: list[tuple[dict[str, Any], str, str]] = [
    ({"if": {"type": "object"}, "then": False}, "/if", "if"),
    ({"properties": {"a": {"contains": {"type": "string"}}}}, "/properties/a/contains", "contains"),
    ({"anyOf": [{}, {"dependentSchemas": {}}]}, "/anyOf/1/dependentSchemas", "dependentSchemas"),
    ({"items": {"unevaluatedProperties": False}}, "/items/unevaluatedProperties", "unevaluatedProperties"),
    ({"$defs": {"x/y": {"$dynamicRef": "#n"}}}, "/$defs/x~1y/$dynamicRef", "$dynamicRef"),
    ({"dependentRequired": {"a": ["b"]}}, "/dependentRequired", "dependentRequired"),
    ({"properties": {"a": {"$ref": "https://example.com/s.json"}}}, "/properties/a/$ref", "parts of its own schema"),
    ({"$ref": "other.json#/$defs/a"}, "/$ref", "parts of its own schema"),
    ({"$ref": "#/$defs/none"}, "/$ref", "points to nothing"),
    ({"properties": {"a": {"$id": "urn:x"}}}, "/properties/a/$id", "$id"),
    ({"type": "strin"}, "/type", "integer"),
    ({"properties": {"a": {"minLength": -1}}}, "/properties/a/minLength", "minLength"),
    ({"required": ["a", "a"]}, "/required", "required"),
    ({"allOf": []}, "/allOf", "allOf"),
    ({"properties": {"a": 1}}, "/properties/a", "schema"),
    ({"items": [{}, 3]}, "/items/1", "schema"),
    ({"$ref": "#/x-parts/a", "x-parts": {"a": {"then": {}}}}, "/x-parts/a/then", "then"),
    ({"$ref": "#/%78~1y/0", "x/y": [{"anyOf": [{}, {"not": 1}]}]}, "/x~1y/0/anyOf/1/not", "schema"),
    ({"items": {"$ref": f"#/$defs/{'n' * 1000}"}, "$defs": {"n" * 1000: {}}}, "/items/$ref", "1000 characters"),
]


@pytest.mark.parametrize(("schema", "place", "word"), OUTSIDE)
def test_what_is_outside_the_subset_is_refused_by_its_name_and_place(
    api: Api, schema: dict[str, Any], place: str, word: str
) -> None:
    reply = ask(api, schema)
    assert reply.refusal == (400, "invalid")
    (fault,) = reply.data["errors"]
    assert fault["pointer"] == f"/action/schema{place}"
    assert word in fault["detail"]


def test_pattern_and_format_are_taken_and_not_applied(api: Api, person: Person) -> None:
    note = {"type": "string", "pattern": "^[0-9]+$", "format": "date"}
    row = ask(api, {"properties": {"order": note}, "patternProperties": {"^x": {"type": "null"}}}).data["id"]
    claims.claim(person.viewer, escalation_id=row)
    said = {"order": "words", "xy": 1}
    assert answers.decide(person.viewer, escalation_id=row, verdict="edit", arguments=said).state == "handed_back"


def test_faults_of_an_edit_are_told_at_their_places(api: Api, person: Person) -> None:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "required": ["order", "amount"],
        "properties": {
            "amount": {"type": "number", "minimum": 1, "multipleOf": 0.01},
            "order": {"enum": [1, "o-1"]},
            "list": {"uniqueItems": True, "items": {"type": ["integer", "null"]}},
        },
    }
    row = ask(api, schema).data["id"]
    claims.claim(person.viewer, escalation_id=row)

    def wrong(**arguments: Any) -> dict[str, str]:
        with pytest.raises(HubError) as refused:
            answers.decide(person.viewer, escalation_id=row, verdict="edit", arguments=arguments)
        assert refused.value.status == 422
        return {fault.pointer: fault.detail for fault in refused.value.errors}

    assert wrong(order=True, amount="5", list=[1, "x"], more=1) == {
        "/arguments/more": "No value is allowed here.",
        "/arguments/amount": "This must be a number.",
        "/arguments/order": 'This must be one of [1,"o-1"].',
        "/arguments/list/1": "This must be a whole number or null.",
    }
    assert wrong(amount=0.5, list=[1, 1.0]) == {
        "/arguments/order": "This is missing.",
        "/arguments/amount": "This must be at least 1.",
        "/arguments/list": "All items must be different.",
    }
    # A true is no 1, and an amount is a multiple as it is written: 19.99 / 0.01 is no whole number in binary.
    fitting = {"order": 1.0, "amount": 19.99, "list": [1, None]}
    assert answers.decide(person.viewer, escalation_id=row, verdict="edit", arguments=fitting).state == "handed_back"


def test_long_sentences_and_many_faults_are_cut(api: Api, person: Person) -> None:
    row = ask(api, {"additionalProperties": {"enum": ["x" * 1000, *range(5000)]}}).data["id"]
    claims.claim(person.viewer, escalation_id=row)
    with pytest.raises(HubError) as refused:
        answers.decide(
            person.viewer, escalation_id=row, verdict="edit", arguments=dict.fromkeys("abcdefghijklmnopqrstuvwxyz", -1)
        )
    assert len(refused.value.errors) == 20
    assert max(len(fault.detail) for fault in refused.value.errors) <= 300


def test_places_that_are_far_down_are_cut(api: Api, person: Person) -> None:
    row = ask(api, {"minProperties": 1, "additionalProperties": {"$ref": "#"}}).data["id"]
    claims.claim(person.viewer, escalation_id=row)
    deep: dict[str, Any] = {}
    for _ in range(25):
        deep = {"n" * 300: deep}
    with pytest.raises(HubError) as refused:
        answers.decide(person.viewer, escalation_id=row, verdict="edit", arguments=deep)
    (fault,) = refused.value.errors
    assert fault.pointer.startswith(f"/arguments/{'n' * 200}/")
    assert len(fault.pointer) < 1_100


def test_a_schema_has_a_size(api: Api) -> None:
    reply = ask(api, {"description": "x" * 64 * 1024})
    assert reply.status == 400
    assert [(fault["pointer"], fault["code"]) for fault in reply.data["errors"]] == [("/action/schema", "too_large")]


def _twice(last: Any) -> dict[str, Any]:
    levels = {str(level): {"allOf": [{"$ref": f"#/$defs/{level + 1}"}] * 2} for level in range(60)}
    return {"properties": {"a": {"$ref": "#/$defs/0"}}, "$defs": {**levels, "60": last}}


# Schema and arguments at the limits of their sizes, each of which a general validator works on for seconds or for ever.
COSTLY: dict[str, tuple[Any, Any]] = {
    "a list of unique objects": (
        {"properties": {"a": {"uniqueItems": True}}},
        {"a": [{"n": [number]} for number in range(15_000)]},
    ),
    "an enumeration of objects": ({"properties": {"a": {"enum": [{"n": n} for n in range(6_000)]}}}, {"a": {}}),
    "names that are due": ({"required": [f"name-{number}" for number in range(5_000)]}, {"a": 1}),
    "references that double": (_twice({}), {"a": 1}),
    "references that double and fail": (_twice({"type": "null"}), {"a": 1}),
    "every item against every form": (
        {"properties": {"a": {"items": {"anyOf": [{"const": n} for n in range(4_000)]}}}},
        {"a": list(range(-30_000, 0))},
    ),
    "one of many that all fit": ({"oneOf": [{"minProperties": 1} for _ in range(3_000)]}, {"a": 1}),
    "notes on every item": (
        {"properties": {"a": {"items": {f"x-{number}": 0 for number in range(5_000)}}}},
        {"a": list(range(40_000))},
    ),
    "a reference to itself": ({"$ref": "#"}, {"a": 1}),
    "patterns": ({"properties": {"a": {"allOf": [{"pattern": "(a+)+$"}] * 3_000}}}, {"a": "a" * 5_000 + "!"}),
    "a long text in many enumerations": (
        {"properties": {"a": {"anyOf": [{"enum": ["x", [n]]} for n in range(2_800)]}}},
        {"a": "x" * 200_000},
    ),
}


def test_no_schema_costs_more_than_a_small_multiple_of_an_ordinary_one(api: Api) -> None:
    def seconds(schema: Any, arguments: Any) -> float:
        began = time.perf_counter()
        reply = ask(api, schema, arguments)
        assert reply.status in (201, 400), reply
        return time.perf_counter() - began

    ordinary = clients.OPENAI[0]
    seconds(ordinary, ARGUMENTS)
    # Beside an ordinary schema with arguments of the same size, so that a slow moment of the machine meets both.
    for name, (schema, arguments) in COSTLY.items():
        best = min(
            seconds(schema, arguments) / seconds(ordinary, {"a": "x" * len(orjson.dumps(arguments))}) for _ in range(3)
        )
        assert best < 20, (name, best)


def _of_items(*forms: Any) -> dict[str, Any]:
    return {"properties": {"a": {"items": {"anyOf": [*forms, True]}}}}


ORDINARY = (_of_items(*({"maximum": -number} for number in range(1, 30))), {"a": list(range(10_000))})
# What takes few steps, each of which was dear: a sentence for nobody, a division of long fractions.
DEAR: dict[str, tuple[Any, Any]] = {
    "a long constant": (_of_items({"const": [0] * 30_000}), {"a": [[] for _ in range(30_000)]}),
    "a long enumeration": (_of_items({"enum": [[0] * 30_000]}), {"a": [[] for _ in range(30_000)]}),
    "a long text": (_of_items({"const": "€" * 20_000}), {"a": [str(number) for number in range(30_000)]}),
    "tiny divisors": (
        _of_items(*({"multipleOf": (number + 0.123456789) * 1e-90} for number in range(30))),
        {"a": [9e14 + number / 8 for number in range(5_000)]},
    ),
}


@pytest.mark.parametrize("name", DEAR)
def test_no_step_is_dear(api: Api, name: str) -> None:
    """All that a schema may take is about the same time, whatever it is spent on."""

    def seconds(schema: Any, arguments: Any) -> float:
        began = time.process_time()
        reply = ask(api, schema, arguments)
        assert reply.status in (201, 400), reply
        return time.process_time() - began

    ordinary, dear = (min(seconds(*asked) for _ in range(2)) for asked in (ORDINARY, DEAR[name]))
    assert dear < 3 * ordinary


@pytest.mark.parametrize("length", [900, 16_000])
def test_places_in_a_schema_take_no_memory_by_their_length(length: int) -> None:
    name = "n" * length
    schema = {"$defs": {name: {"anyOf": [0] * 16_000}}, "$ref": f"#/$defs/{name}"}
    tracemalloc.start()
    try:
        assert documents.check(schema, {}) is not None
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 1024 * 1024
