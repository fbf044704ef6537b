"""Every answer that a test sees is held against the description: a status that is told there, a body of its schema."""

import json
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any, NamedTuple

import jsonschema_rs

from tests.support.servers import ROOT

PATH = ROOT / "docs" / "openapi.json"


@cache
def description() -> dict[str, Any]:
    """docs/openapi.json."""
    made: dict[str, Any] = json.loads(PATH.read_text())
    return made


def validator(schema: Mapping[str, Any]) -> Any:
    """Of a schema of the description, whose references lead there."""
    root = {"$schema": "https://json-schema.org/draft/2020-12/schema", "components": description()["components"]}
    return jsonschema_rs.validator_for(root | dict(schema), validate_formats=True)


class Told(NamedTuple):
    """What the description says of one status of one operation."""

    headers: tuple[str, ...]
    validators: Mapping[str, Any]  # by media type; None for what is no JSON


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    # Those without a parameter first: tasks/claim-next is no task.
    paths = sorted(description()["paths"], key=lambda path: path.count("{"))
    return [(re.compile(re.sub(r"\\\{[a-z_]+\\\}", "[^/]+", re.escape(path))), path) for path in paths]


@lru_cache(maxsize=1000)
def _path_of(address: str) -> str | None:
    return next((path for pattern, path in _patterns() if pattern.fullmatch(address)), None)


@cache
def _told(path: str, method: str, status: int) -> Told | None:
    told = description()["paths"][path][method]["responses"].get(str(status))
    if told is None:
        return None
    told = _resolved(told)
    headers = tuple(name for name, header in told["headers"].items() if _resolved(header).get("required"))
    return Told(
        headers,
        {
            media_type: validator(content["schema"]) if media_type.endswith("json") else None
            for media_type, content in told.get("content", {}).items()
        },
    )


def _resolved(node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    found = description()
    for step in node["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return found


def hold(method: str, address: str, status: int, headers: Mapping[str, str], data: Any) -> None:
    """Raises AssertionError for an answer that the description does not tell. `address`: with or without query."""
    asked = "get" if method == "HEAD" else method.lower()
    path = _path_of(address.partition("?")[0])
    if path is None or asked not in description()["paths"][path]:
        return
    what = f"{method} {path} {status}"
    told = _told(path, asked, status)
    assert told is not None, f"{what}: a status that docs/openapi.json does not tell: {data}"
    missing = [name for name in told.headers if name not in headers]
    assert not missing, f"{what}: without the headers {missing}"
    if method == "HEAD":
        return
    media_type = headers.get("Content-Type", "").partition(";")[0]
    assert media_type in told.validators if told.validators else not media_type, f"{what}: {dict(headers)}"
    assert media_type != "application/problem+json" or data["status"] == status, what
    if (found := told.validators.get(media_type)) is not None:
        faults = [f"{error.instance_path}: {error.message}" for error in found.iter_errors(data)]
        assert not faults, f"{what}: not of its schema: {faults}"
