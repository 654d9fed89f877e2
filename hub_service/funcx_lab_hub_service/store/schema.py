"""The tables, as numbered migrations.

Integer primary keys everywhere; the ids that travel are UNIQUE TEXT. A task that runs and ends costs
two inserts (task, body), one update and, if it returned bytes, one more insert. Its first and last
``state`` events are derived from the task's columns.

A migration that a release has shipped is never changed; the next one follows it.
"""

from __future__ import annotations

import sqlite3

import sqlite_utils

from funcx_lab.crash_points import crash_point
from funcx_lab.errors import ConfigError

_migrations = sqlite_utils.Migrations("funcx_lab_hub_service")

#: A state is stored as its place in TaskState. A live task has no outcome_seq.
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
INSERT INTO meta VALUES ('boot', 0);

CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);

CREATE TABLE tokens (
    token_id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, user TEXT NOT NULL, kind TEXT NOT NULL,
    endpoint_id TEXT, label TEXT NOT NULL, created REAL NOT NULL, revoked REAL);
CREATE INDEX tokens_of_endpoint ON tokens (endpoint_id) WHERE endpoint_id IS NOT NULL;

CREATE TABLE objects (
    id INTEGER PRIMARY KEY, sha256 TEXT NOT NULL, size INTEGER NOT NULL, user TEXT NOT NULL,
    created REAL NOT NULL, UNIQUE (sha256, user));

CREATE TABLE functions (
    id INTEGER PRIMARY KEY, function_id TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL REFERENCES users,
    name TEXT NOT NULL, format TEXT NOT NULL, sha256 TEXT NOT NULL, meta TEXT NOT NULL,
    created REAL NOT NULL, deleted REAL, body BLOB NOT NULL);
CREATE INDEX functions_by_content ON functions (owner, sha256, name);

CREATE TABLE endpoints (
    id INTEGER PRIMARY KEY, endpoint_id TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL REFERENCES users,
    name TEXT NOT NULL, metadata TEXT NOT NULL, created REAL NOT NULL, seen REAL, public_key TEXT,
    enrolment BLOB, enrolment_ends REAL, deleted REAL);
CREATE UNIQUE INDEX endpoints_by_name ON endpoints (owner, name) WHERE deleted IS NULL;

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, endpoint INTEGER NOT NULL REFERENCES endpoints, instance TEXT NOT NULL,
    spool TEXT NOT NULL, started REAL NOT NULL);

CREATE TABLE task_groups (
    id INTEGER PRIMARY KEY, owner INTEGER NOT NULL REFERENCES users, group_id TEXT NOT NULL,
    UNIQUE (owner, group_id));

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY, task_id TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL REFERENCES users,
    grp INTEGER NOT NULL REFERENCES task_groups, endpoint INTEGER NOT NULL REFERENCES endpoints,
    function INTEGER NOT NULL REFERENCES functions, state INTEGER NOT NULL, options BLOB,
    tag INTEGER, session INTEGER, losses INTEGER NOT NULL DEFAULT 0, events INTEGER NOT NULL DEFAULT 0,
    received REAL NOT NULL, started REAL, ended REAL, outcome_seq INTEGER, execution TEXT,
    error BLOB, worker BLOB);
CREATE INDEX tasks_of_owner ON tasks (owner);
CREATE INDEX tasks_of_group ON tasks (grp);
CREATE INDEX live_tasks ON tasks (endpoint, state) WHERE outcome_seq IS NULL;
CREATE INDEX outcomes ON tasks (grp, outcome_seq) WHERE outcome_seq IS NOT NULL;

CREATE TABLE bodies (task INTEGER PRIMARY KEY, payload BLOB NOT NULL, object TEXT, size INTEGER);
CREATE TABLE results (task INTEGER PRIMARY KEY, payload BLOB NOT NULL, object TEXT, size INTEGER);
CREATE INDEX bodies_by_object ON bodies (object) WHERE object IS NOT NULL;
CREATE INDEX results_by_object ON results (object) WHERE object IS NOT NULL;

CREATE TABLE events (
    task INTEGER NOT NULL, seq INTEGER NOT NULL, execution TEXT, i INTEGER, time REAL NOT NULL,
    kind TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (task, seq)) WITHOUT ROWID;

CREATE TABLE losses (
    execution TEXT PRIMARY KEY, task INTEGER NOT NULL, time REAL NOT NULL, evidence TEXT NOT NULL)
    WITHOUT ROWID;

CREATE TABLE tally (owner INTEGER NOT NULL, state INTEGER NOT NULL, n INTEGER NOT NULL,
    PRIMARY KEY (owner, state)) WITHOUT ROWID;
"""


@_migrations()
def m001_first_tables(database: sqlite_utils.Database) -> None:
    """Make all tables."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            database.execute(statement)


#: ``size`` are the bytes of the arguments, ``deadline`` is set for a time to live of the task's own,
#: ``closed`` is when the end was stored by this service's clock (``ended`` is by the endpoint's).
_RETENTION = """
ALTER TABLE tasks ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN deadline REAL;
ALTER TABLE tasks ADD COLUMN closed REAL;
ALTER TABLE users ADD COLUMN late INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET closed = CAST(strftime('%s', 'now') AS REAL) WHERE outcome_seq IS NOT NULL;
UPDATE tasks SET size = (SELECT length(payload) FROM bodies WHERE task = tasks.id) WHERE outcome_seq IS NULL;
CREATE TABLE tombstones (id INTEGER PRIMARY KEY, task_id TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL REFERENCES users, purged REAL NOT NULL);
CREATE INDEX deadlines ON tasks (deadline) WHERE deadline IS NOT NULL AND outcome_seq IS NULL;
CREATE INDEX losses_of_task ON losses (task);
CREATE INDEX tasks_by_state ON tasks (owner, state);
DROP INDEX tasks_of_owner;
DROP TABLE tally
"""


@_migrations()
def m002_retention(database: sqlite_utils.Database) -> None:
    """Make room for what expires, is purged or comes too late; tasks are counted by an index."""
    for statement in _RETENTION.split(";\n"):
        database.execute(statement)
    crash_point("hub.migrating")


#: ``input_hash`` begins the SHA-256 of the arguments, ``memo`` names a call whose result may be used
#: again, ``environment`` the packages that made it, ``reused`` the earlier run whose result a task was given.
_REUSE = """
ALTER TABLE tasks ADD COLUMN input_hash TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN memo BLOB;
ALTER TABLE tasks ADD COLUMN environment TEXT;
ALTER TABLE tasks ADD COLUMN reused BLOB;
CREATE INDEX memos ON tasks (memo) WHERE memo IS NOT NULL
"""


@_migrations()
def m003_reuse(database: sqlite_utils.Database) -> None:
    """Make room for results that stand for another run of the same call."""
    for statement in _REUSE.split(";\n"):
        database.execute(statement)


#: A ``holder`` is a user or a group; groups are JupyterHub's.
_SHARES = """
CREATE TABLE shares (thing TEXT NOT NULL, key INTEGER NOT NULL, holder TEXT NOT NULL, name TEXT NOT NULL,
    created REAL NOT NULL, PRIMARY KEY (thing, key, holder, name)) WITHOUT ROWID
"""


@_migrations()
def m004_shares(database: sqlite_utils.Database) -> None:
    """Make room for endpoints and functions that others may use."""
    database.execute(_SHARES)


def pending(connection: sqlite3.Connection) -> list[str]:
    """Return the migrations that a database in use needs; none for a new one.

    Raises
    ------
    ConfigError
        If a newer release wrote the database.
    """
    database = sqlite_utils.Database(connection)
    known = [migration.name for migration in _migrations._migrations]
    applied = [migration.name for migration in _migrations.applied(database)]
    newer = [name for name in applied if name not in known]
    if newer:
        raise ConfigError(
            f"The database was written by a newer funcx-lab ({newer[-1]}); "
            "upgrade this one, or restore a backup."
        )
    return [name for name in known if applied and name not in applied]


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to this release's shape, one transaction a migration.

    Raises
    ------
    ConfigError
        If a newer release wrote the database.
    """
    pending(connection)
    _migrations.apply(sqlite_utils.Database(connection))
