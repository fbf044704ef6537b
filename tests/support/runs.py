"""Recorded runs of agents in the chat format of OpenAI, for the import: good ones, and lines with faults."""

import json

SUMMARY = "The parcel is lost and the policy says no. Please decide about an exception."


def call(name, call_id="c1", **arguments):
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}


def assistant(*calls, content=None):
    return {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {})}


def result(content, call_id="c1", name="get_order"):
    return {"role": "tool", "tool_call_id": call_id, "name": name, "content": content}


USER = {"role": "user", "content": "Where is my parcel?"}
DONE = {
    "task_id": 7,
    "trial": 0,
    "reward": 1.0,
    "messages": [
        {"role": "system", "content": "Be kind."},
        USER,
        assistant(call("get_order", number=5)),
        result('{"status": "lost"}'),
        assistant(call("get_order", "c2", number=5)),
        result('{"status": "lost"}', "c2"),
        assistant(call("think", "c3", thought="Send another one.")),
        result("", "c3", "think"),
        assistant(call("send_parcel", "c4", number=5), content="It is lost, so it is sent again."),
        result("Error: no stock", "c4", "send_parcel"),
        assistant(content="It is on its way."),
    ],
}
HANDED = {
    "task_id": 8,
    "trial": 2,
    "messages": [
        USER,
        assistant(call("transfer_to_human_agents", summary=SUMMARY)),
        result("Transfer successful", name="transfer_to_human_agents"),
    ],
}
# Lines that are no run, and what is said of each.
BAD = [
    (b"{nonsense", "not JSON"),
    (b"[1, 2]", "must be a JSON object"),
    (b'{"task_id": 1}', "/messages: This field is missing."),
    (b'{"task_id": 1, "messages": []}', "messages is empty"),
    (b'{"task_id": 1, "messages": "hello"}', "messages"),
    (b'{"task_id": 1, "messages": [{"role": "user", "content": 5}]}', "/messages/0/content: "),
    (b'{"task_id": 1, "messages": [{"content": "no role"}]}', "/messages/0/role: This field is missing."),
    (b'{"task_id": {"a": 1}, "messages": [{"role": "user", "content": "hi"}]}', "task_id"),
    (b'{"task_id": "a/b", "messages": [{"role": "user", "content": "hi"}]}', "key"),
    (b'{"task_id": 1, "messages": [{"role": "user", "content": "\\u0000"}]}', "NUL"),
    (b'{"task_id": 1, "messages": [{"role": "user", "content": "\xff"}]}', "UTF-8"),
    (b'{"task_id": 1, "messages": [{"role": "user", "content": "x", "timestamp": "now"}]}', "/messages/0/timestamp: "),
    (
        b'{"task_id": 1, "messages": [{"role": "user", "content": "hi"}], "model": 1}',
        "model: A run has no such member.",
    ),
    (b'{"task_id": 1, "messages": [{"role": "user", "content": "hi"}], "task_id": 2}', "twice"),
    (b'{"task_id": 1, "messages": [{"role": "user", "content": "' + b"x" * 9_000_000 + b'"}]}', "larger than"),
]
