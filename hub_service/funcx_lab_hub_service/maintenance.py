"""What an administrator does to a hub service's directory: tokens, the audit log, backups."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from funcx_lab.errors import ConfigError, ServiceStartError
from funcx_lab.locks import take_lock
from funcx_lab_hub_service import audit
from funcx_lab_hub_service.auth.tokens import Tokens
from funcx_lab_hub_service.config import ServiceConfig
from funcx_lab_hub_service.store import backup
from funcx_lab_hub_service.store.database import Database


async def token(config: ServiceConfig, options: argparse.Namespace) -> int:
    """Make, list or revoke tokens; the service may run meanwhile."""
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(config.database)
    await database.start()
    try:
        await _token(config, options, Tokens(database))
    finally:
        await database.close()
    return 0


async def _token(config: ServiceConfig, options: argparse.Namespace, tokens: Tokens) -> None:
    log = audit.Audit(config.audit)
    if options.action == "create":
        made = await tokens.create(options.user, label=options.label)
        log.note("token-created", user=options.user, label=options.label, by=os.getuid())
        sys.stdout.write(made + "\n")
    elif options.action == "revoke":
        await tokens.revoke(options.token_id)
        log.note("token-revoked", token=options.token_id, by=os.getuid())
        sys.stdout.write(f"Token {options.token_id} is revoked; its streams close within 5 s.\n")
    else:
        _print_tokens(tokens)
    log.flush()


def _print_tokens(tokens: Tokens) -> None:
    sys.stdout.write(f"{'ID':>6}  {'USER':20}  {'KIND':8}  {'CREATED':16}  {'STATE':8}  LABEL\n")
    for record in tokens.list():
        created = time.strftime("%Y-%m-%d %H:%M", time.localtime(record.created))
        state = "revoked" if record.revoked else "works"
        sys.stdout.write(
            f"{record.token_id:6}  {record.user:20}  {record.kind:8}  {created}  {state:8}  {record.label}\n"
        )


def check_audit(config: ServiceConfig) -> int:
    """Say whether the audit log is as it was written; 1 if it is not.

    Raises
    ------
    ConfigError
        If it cannot be read.
    """
    try:
        count, fault = audit.verify(config.audit)
    except OSError as error:
        raise ConfigError(f"The audit log {config.audit} cannot be read: {error.strerror}.") from error
    if fault:
        sys.stderr.write(f"{config.audit}: {fault}. The {count} lines before it are as they were written.\n")
        return 1
    sys.stdout.write(f"{config.audit}: all {count} lines are as they were written.\n")
    return 0


def print_audit(config: ServiceConfig) -> int:
    """Print the audit log, a line an entry."""
    try:
        for entry in audit.entries(config.audit):
            entry.pop("hash", None)
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.pop("time")))
            facts = " ".join(f"{name}={value!r}" for name, value in entry.items() if name != "event")
            sys.stdout.write(f"{moment}  {entry['event']:20}  {facts}\n")
    except BrokenPipeError:
        raise  # of who reads what is printed
    except (OSError, ValueError) as error:
        raise ConfigError(f"The audit log {config.audit} cannot be read: {error}.") from error
    return 0


def make_backup(config: ServiceConfig, target: Path) -> int:
    """Copy the database, consistently, while the service may run."""
    if target.exists():
        raise ConfigError(f"{target} exists already; choose another name.")
    if not config.database.exists():
        raise ConfigError(f"There is no database {config.database}.")
    backup.copy_to(config.database, target.absolute())
    sys.stdout.write(f"{target} is a backup of {config.database}.\n")
    return 0


def restore(config: ServiceConfig, source: Path) -> int:
    """Put a backup in the database's place, while no service runs on it."""
    with _held(config):
        aside = backup.restore(config.database, source)
    log = audit.Audit(config.audit)
    log.note("restored", backup=str(source), by=os.getuid())
    log.flush()
    sys.stdout.write(f"{config.database} is now the backup {source}.\n")
    if aside is not None:
        sys.stdout.write(f"What was there is kept as {aside}.\n")
    return 0


@contextlib.contextmanager
def _held(config: ServiceConfig) -> Iterator[None]:
    """Hold the data directory, so that no service starts on it.

    Raises
    ------
    ServiceStartError
        If one runs.
    """
    path = config.data / "service.lock"
    descriptor = take_lock(path, wait_s=1.0)
    if descriptor is None:
        raise ServiceStartError(f"A hub service runs on {config.data}; stop it first.")
    try:
        yield
    finally:
        os.close(descriptor)
