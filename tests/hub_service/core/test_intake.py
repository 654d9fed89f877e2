"""Row numbers of tasks, in a database of their own."""

from __future__ import annotations

import sqlite3
import uuid

from funcx_lab.protocol.stream import NewTask
from funcx_lab_hub_service.store.intake import Insertion, TaskWriter
from funcx_lab_hub_service.store.schema import migrate


def insertion(count: int) -> Insertion:
    tasks = [NewTask(str(uuid.uuid4())) for _ in range(count)]
    return Insertion("me", "group", 1, 1, tasks, None, (), None, 0.0)


def test_numbers_that_were_free_in_a_group_that_was_rolled_back_are_not_taken_for_free() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    TaskWriter().insert(connection, insertion(3))
    writer = TaskWriter()  # of the next life, whose first group purges, inserts, and has no room
    connection.execute("BEGIN")
    connection.execute("DELETE FROM tasks")
    connection.execute("DELETE FROM bodies")
    writer.insert(connection, insertion(1))
    connection.execute("ROLLBACK")
    inserted = writer.insert(connection, insertion(2))
    assert not inserted.old()
    assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (5,)
    connection.close()
