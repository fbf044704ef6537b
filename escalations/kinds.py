"""What people say on escalations is memory, like any other row: their answers, and the notes that agents may read."""

from escalations.schemas import GivenAnswer, Note
from memoryhub.memory.kinds import Kind, by_ids, register


def register_kinds() -> None:
    """Register the kinds of this app; called when it is ready."""
    register(
        Kind(
            "answer",
            "answers",
            GivenAnswer,
            searched=("message", "done", "next"),
            by_ids=by_ids(GivenAnswer),
            in_words=True,
            made_by="escalation",
        )
    )
    register(Kind("note", "notes", Note, searched=("text",), by_ids=by_ids(Note), in_words=True, made_by="escalation"))
