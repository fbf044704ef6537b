"""What each status and each problem code means: for the API's description, its page and docs/problems.md."""

from memoryhub.core.errors import Code

STATUSES = {
    400: "The request is invalid; `errors` says where.",
    401: "The API key is missing or not valid; the response does not say which.",
    403: "The key lacks the scope, or its role or clearance does not allow this. Never returned for a hidden row.",
    404: "There is nothing here that the key may see: hidden and absent are the same answer.",
    408: "The head or the body took too long to arrive (10 s for the head; 60 s for the body, 10 s without a byte).",
    409: "The current state, in the problem's further members, does not allow this.",
    410: "The cursor is too old, ahead of the ledger or of a lost history: read a fresh snapshot, then resume.",
    412: "It has changed since it was read; `current` is its current state.",
    413: "The body is larger than is accepted here.",
    414: "The query is longer than 8 kB.",
    415: "The body must be of a media type that the operation names, in UTF-8; only imports take a Content-Encoding.",
    422: "Well-formed but not allowed: an Idempotency-Key of another request, or what the escalation does not allow.",
    428: "A change needs If-Match with the ETag that was read.",
    429: "A rate limit or a limit on concurrent requests is reached; retry after `Retry-After` seconds.",
    431: "The headers have more than 32 KiB or 200 lines.",
    503: "Unavailable for now; retry after `Retry-After` seconds. Nothing was done, unless `detail` says otherwise.",
}

# Of a whole request: a problem's `code`.
OF_REQUESTS = {
    Code.INVALID: "The request is invalid; `errors` names each fault and its place.",
    Code.INVALID_JSON: "The body is not one JSON object in UTF-8, or has what is not accepted: a NUL, a repeated key.",
    Code.UNAUTHORIZED: "A valid API key is needed, in one Authorization header.",
    Code.FORBIDDEN: "The role, scope or clearance does not allow this.",
    Code.NOT_FOUND: "There is nothing here that you may see.",
    Code.METHOD_NOT_ALLOWED: "The address accepts other methods; `Allow` names them.",
    Code.NOT_ACCEPTABLE: "Responses are JSON, which `Accept` excludes.",
    Code.REQUEST_TIMEOUT: "The head or the body took too long to arrive.",
    Code.CONFLICT: "A concurrent request changed the same row: read it again.",
    Code.ALREADY_EXISTS: "The name exists already, or the `client_ref` was used for something else.",
    Code.LEASE_HELD: "Somebody holds the task's lease: `held_by`, until `lease_expires_at`.",
    Code.LEASE_LOST: "The fencing token is old: the lease has expired, was released, or is held by another.",
    Code.HUMAN_OWNED: "A person has the task. Observations without a token are still accepted.",
    Code.ACTION_CONFLICT: "An active decision has this `action_key` already.",
    Code.AMBIGUOUS_KEY: "Several rows of this key are visible and none dominates all others: choose with `?label=`.",
    Code.ALREADY_CLAIMED: "A person has claimed the escalation already.",
    Code.ALREADY_DECIDED: "The escalation is answered already.",
    Code.TOO_MANY_LABELS: "You have created as many labels as a member may; use one that exists.",
    Code.WRONG_STATE: "The current state, in `state`, does not allow this verb.",
    Code.NOT_OWNER: "Only its owner may do this.",
    Code.RESYNC: "The cursor is too old, ahead of the ledger or of a lost history: read a fresh snapshot.",
    Code.PRECONDITION_FAILED: "If-Match or If-None-Match does not hold; `current` is the current state.",
    Code.PRECONDITION_REQUIRED: "If-Match is missing.",
    Code.TOO_LARGE: "The body, or a value in it, is larger than allowed.",
    Code.URI_TOO_LONG: "The query is longer than 8 kB.",
    Code.HEADERS_TOO_LARGE: "The headers have more bytes or lines than are accepted.",
    Code.UNSUPPORTED_MEDIA_TYPE: "The body is not of a media type that is accepted here, or encoded otherwise.",
    Code.NOT_CONFIGURED: "This installation lacks the configuration that this needs.",
    Code.NOT_ALLOWED: "The escalation's agent did not allow this, or could not read it.",
    Code.IDEMPOTENCY_MISMATCH: "This Idempotency-Key was used for another request.",
    Code.TOO_MANY_REQUESTS: (
        "A limit is reached: the key's rate, its concurrent requests, waits or repeats, the agent's open escalations."
    ),
    Code.UNAVAILABLE: "A part is overloaded, restarting or away; nothing was done, unless `detail` says otherwise.",
    Code.INTERNAL: "An error of the server, logged there under `request_id`.",
}

# Of one field, parameter or header: `errors[].code`.
OF_FIELDS = {
    Code.UNKNOWN_FIELD: "There is no such field.",
    Code.READ_ONLY_FIELD: "The field is set by the server and cannot be sent.",
    Code.UNKNOWN_PARAMETER: "There is no such parameter here.",
    Code.MISSING: "The field is required.",
    Code.EMPTY: "It is empty, or has no visible character.",
    Code.REPEATED: "It occurs twice.",
    Code.WRONG_TYPE: "It has another type. There is no coercion: no string for a number, no 1.0 for 1.",
    Code.BAD_FORMAT: "It does not have the required form.",
    Code.BAD_CHOICE: "It is none of the allowed values.",
    Code.CIRCULAR: "It would be based on itself.",
    Code.OUT_OF_RANGE: "The number, or the time, is out of bounds.",
    Code.TOO_SHORT: "It is shorter than allowed.",
    Code.TOO_LONG: "It is longer than allowed.",
    Code.TOO_DEEP: "It is nested deeper than 32 levels.",
}


def markdown() -> str:
    """docs/problems.md."""
    lines = [
        "# Problems",
        "",
        "Every refusal is `application/problem+json` (RFC 9457) with `code`, `detail`, `errors` and `request_id`.",
        "Clients may branch on codes; sentences in `detail` may change. `type` is the code's place in the docs page.",
        "",
        "Written by `UPDATE_OPENAPI=1 pytest tests/api/test_openapi.py` from `agents/openapi/problems.py`.",
    ]
    for title, table in (
        ("By status", {str(status): text for status, text in STATUSES.items()}),
        ("`code`, of a request", {f"`{code}`": text for code, text in OF_REQUESTS.items()}),
        ("`errors[].code`, of a field, parameter or header", {f"`{code}`": text for code, text in OF_FIELDS.items()}),
    ):
        lines += ["", f"## {title}", "| | |", "|---|---|", *(f"| {name} | {text} |" for name, text in table.items())]
    return "\n".join(lines) + "\n"
