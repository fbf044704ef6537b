"""Facts over the API: made, changed and deleted by who has seen the newest version."""

from typing import Any

from tests.support.api import Api, Reply

NEW = {"If-None-Match": "*"}


def put(api: Api, at: str, value: Any, etag: str | None = None, **fields: Any) -> Reply:
    """Make a fact; with an ETag: change it. `label` goes into the query, all other fields into the body."""
    headers = NEW if etag is None else {"If-Match": etag}
    query = f"?label={fields.pop('label')}" if "label" in fields else ""
    return api.send("PUT", f"facts/{at}{query}", {"value": value, **fields}, headers=headers)


def make(api: Api, key: str, value: Any, etag: str | None = None, **fields: Any) -> str:
    """The new ETag of a fact that was made; with an ETag: changed."""
    reply = put(api, key, value, etag, **fields)
    assert reply.status == (201 if etag is None else 200), reply
    return reply.headers["ETag"]


def delete(api: Api, key: str, etag: str) -> Reply:
    return api.send("DELETE", f"facts/{key}", headers={"If-Match": etag})
