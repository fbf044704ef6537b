"""Management commands, run in this process."""

from io import StringIO
from typing import Any

from django.core.management import call_command


def run(name: str, *args: Any, **options: Any) -> tuple[str, str]:
    """What the command says on standard output and on standard error."""
    out, err = StringIO(), StringIO()
    call_command(name, *args, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()
