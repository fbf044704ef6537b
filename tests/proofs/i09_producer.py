"""A process that makes work for I9, as a web process does: `python -m tests.proofs.i09_producer`.

For each line on its standard input, a number, it commits so many jobs over about a second, and answers with a line that
holds their rows as JSON once all are acknowledged.
"""

import json
import sys
import time

import django


def main() -> None:
    """Serve lines until the input ends."""
    django.setup()
    from memoryhub.core.ids import new_id
    from memoryhub.core.outbox import jobs
    from memoryhub.core.transactions import viewer_transaction
    from tests.support.factories import make_person, make_team

    viewer = make_person(make_team()).viewer
    for line in sys.stdin:
        rows = []
        for _ in range(int(line)):
            row = new_id()
            with viewer_transaction(viewer):
                jobs.schedule(viewer, "trial.leave_a_mark_slowly", row_id=row)
            rows.append(str(row))
            time.sleep(1 / int(line))
        print(json.dumps(rows), flush=True)


if __name__ == "__main__":
    main()
