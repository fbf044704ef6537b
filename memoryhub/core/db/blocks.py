"""Where a viewer's transaction begins and ends, in the eyes of Django's connection.

What `transaction.atomic(durable=True)` does around an outermost block, without asking psycopg to leave and enter its
autocommit each time: BEGIN and COMMIT travel with the statements (db.statements), so only a failure is left to do
here. That took a tenth of a request's processor time. Django's own blocks inside are savepoints, as always.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import Atomic
from psycopg.pq import TransactionStatus

from memoryhub.core.db import statements

# By what Django knows the outermost block, so that a durable one of its own is refused inside.
_OUTERMOST = Atomic(DEFAULT_DB_ALIAS, savepoint=True, durable=True)


@contextmanager
def block() -> Iterator[None]:
    """The outermost block of this thread's connection; what is not committed when it fails is rolled back.

    Its first statement goes through db.statements, which sends BEGIN with it; what still waits there at the end is
    discarded. Raises RuntimeError inside of another one, and the database's error where COMMIT fails.
    """
    wrapper = connections[DEFAULT_DB_ALIAS]
    if wrapper.in_atomic_block:
        raise RuntimeError("A viewer's transaction is durable: it cannot be nested in another one.")
    wrapper.close_if_health_check_failed()
    wrapper.ensure_connection()
    wrapper.in_atomic_block, wrapper.autocommit, wrapper.needs_rollback = True, False, False
    wrapper.commit_on_exit = True
    wrapper.atomic_blocks.append(_OUTERMOST)
    wrapper.execute_wrappers.append(statements.flush_first)
    is_whole = False
    try:
        yield
        is_whole = not wrapper.needs_rollback
    finally:
        statements.discard()
        wrapper.execute_wrappers.pop()
        wrapper.atomic_blocks.pop()
        wrapper.in_atomic_block = False
        if not is_whole:
            wrapper.run_on_commit = []
        try:
            _end(wrapper, is_whole)
        finally:
            wrapper.autocommit, wrapper.needs_rollback = True, False
    if wrapper.run_on_commit:  # a library's; the product leaves none
        wrapper.run_and_clear_commit_hooks()


def _end(wrapper: BaseDatabaseWrapper, is_whole: bool) -> None:
    if wrapper.closed_in_transaction:
        wrapper.connection = None  # the server rolls back by itself
        return
    if wrapper.connection.pgconn.transaction_status == TransactionStatus.IDLE:
        return
    try:
        if is_whole:
            wrapper.commit()
        else:
            wrapper.rollback()
    except Error:
        wrapper.run_on_commit = []
        if wrapper.connection.pgconn.transaction_status != TransactionStatus.IDLE:
            wrapper.close()
        if is_whole:
            raise
