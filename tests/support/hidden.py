"""Comparing what a reader is answered with and without rows that are hidden from them."""

import json
import re

from memoryhub.core.models import Team
from tests.support.api import Reply

_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")
# A cursor's text is as long as what it points to, and signed; `seq` may have gaps (DESIGN, section 2).
_CURSOR = re.compile(r"cursor=[A-Za-z0-9_-]+")
_TAG = re.compile(r"(ID\.\d+)\.[0-9a-f]{8}")
_SEQ = re.compile(r'"(seq|as_of)": \d+')


def plain(reply: Reply, team: Team) -> str:
    """The whole answer, with ids, times, cursors and the team's own name taken out."""
    headers = {name: value for name, value in reply.headers.items() if name not in ("X-Request-Id", "Content-Length")}
    data = {**reply.data} if isinstance(reply.data, dict) else reply.data
    if isinstance(data, dict):
        data.pop("request_id", None)
    text = json.dumps([reply.status, data, headers], sort_keys=True).replace(team.slug, "TEAM")
    for pattern, put in ((_ID, "ID"), (_TAG, r"\1"), (_TIME, "TIME"), (_CURSOR, "CURSOR"), (_SEQ, r'"\1": 0')):
        text = pattern.sub(put, text)
    return text
