"""What each status and each problem code means: for the API's description, its page and docs/problems.md."""

from memoryhub.core.errors import Code

STATUSES = {
    400: "Something in the request is not as it must be; `errors` says where.",
    401: "There is no API key, or none that is good. Which of the two is not told.",
    403: "The key lacks the scope, or its role or clearance does not allow this. Never said of a row that is hidden.",
    404: "There is nothing here that the key may see: hidden and absent are the same answer.",
    408: "The head or the body took too long to arrive (10 s for the head; 60 s for the body, 10 s without a byte).",
    409: "It cannot be done in the present state, which stands in the problem's further members.",
    410: "The cursor is too old, of the future or of a lost history: read everything anew and go on from there.",
    412: "It was changed meanwhile; `current` is how it is now.",
    413: "The body is larger than may be sent here.",
    414: "The query is longer than 8 kB.",
    415: "The body must be `application/json`, in UTF-8, without a Content-Encoding.",
    422: "Well formed and not allowed: an Idempotency-Key of another request, or what the escalation does not allow.",
    428: "A change needs If-Match with the ETag that was read.",
    429: "Too many requests, a minute or at once; try again after `Retry-After` seconds.",
    431: "The headers have more than 32 KiB or 200 lines.",
    503: "Not available just now; try again after `Retry-After` seconds. Nothing was done.",
}

# Of a whole request: a problem's `code`.
OF_REQUESTS = {
    Code.INVALID: "The request is not as it must be; `errors` names each fault and its place.",
    Code.INVALID_JSON: "The body is not one JSON object in UTF-8, or holds what cannot be kept: a NUL, a repeated key.",
    Code.UNAUTHORIZED: "A valid API key is needed, in one Authorization header.",
    Code.FORBIDDEN: "Role, scope or clearance do not allow this.",
    Code.NOT_FOUND: "Nothing is here that you may see.",
    Code.METHOD_NOT_ALLOWED: "The address has other methods; `Allow` names them.",
    Code.NOT_ACCEPTABLE: "Answers are JSON, and that was not accepted.",
    Code.REQUEST_TIMEOUT: "The head or the body took too long to arrive.",
    Code.CONFLICT: "Somebody else changed the same thing at the same time: read it again.",
    Code.ALREADY_EXISTS: "There is one of that name, or the `client_ref` was used for something else.",
    Code.LEASE_HELD: "Somebody holds the task's lease: `held_by`, until `lease_expires_at`.",
    Code.LEASE_LOST: "The fencing token is old: the lease ran out, was given up, or is somebody else's.",
    Code.HUMAN_OWNED: "A person has the task. Observations without a token still go through.",
    Code.ACTION_CONFLICT: "An active decision has this `action_key` already.",
    Code.AMBIGUOUS_KEY: "Several rows of this key are visible and none is above all others: choose with `?label=`.",
    Code.ALREADY_CLAIMED: "A person has claimed the escalation already.",
    Code.ALREADY_DECIDED: "The escalation is answered already.",
    Code.TOO_MANY_LABELS: "You have made as many labels as a member may; use one that exists.",
    Code.WRONG_STATE: "The present state, in `state`, does not lead on by this verb.",
    Code.NOT_OWNER: "Only the one whose it is may do this.",
    Code.RESYNC: "The cursor is below the feed's floor, of the future or of a lost history: take a fresh snapshot.",
    Code.PRECONDITION_FAILED: "If-Match or If-None-Match do not fit any more; `current` is how it is now.",
    Code.PRECONDITION_REQUIRED: "If-Match is missing.",
    Code.TOO_LARGE: "The body, or a value in it, is larger than allowed.",
    Code.URI_TOO_LONG: "The query is longer than 8 kB.",
    Code.HEADERS_TOO_LARGE: "The headers have more bytes or lines than are taken.",
    Code.UNSUPPORTED_MEDIA_TYPE: "The body is not `application/json` in UTF-8.",
    Code.NOT_CONFIGURED: "The installation has not set up what this needs.",
    Code.NOT_ALLOWED: "What the escalation's agent did not allow, or could not read.",
    Code.IDEMPOTENCY_MISMATCH: "This Idempotency-Key was used for another request.",
    Code.TOO_MANY_REQUESTS: (
        "A budget is used up: the key's rate, its requests, waits or repeats at once, the agent's open escalations."
    ),
    Code.UNAVAILABLE: "A part is overloaded, restarting or gone; nothing was done.",
    Code.INTERNAL: "A fault of the server, which has it in its log under `request_id`.",
}

# Of one field, parameter or header: `errors[].code`.
OF_FIELDS = {
    Code.UNKNOWN_FIELD: "There is no such field.",
    Code.READ_ONLY_FIELD: "The field is set by the server and cannot be sent.",
    Code.UNKNOWN_PARAMETER: "There is no such parameter here.",
    Code.MISSING: "The field is required.",
    Code.EMPTY: "There is nothing to read in it.",
    Code.REPEATED: "It stands twice.",
    Code.WRONG_TYPE: "It is of another type: nothing is made to fit, no text for a number and no 1.0 for 1.",
    Code.BAD_FORMAT: "It does not have the form that is due.",
    Code.BAD_CHOICE: "It is none of the words that are allowed.",
    Code.CIRCULAR: "It would rest on itself.",
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
