"""The forwarder's CURVE key, which agents pin."""

from __future__ import annotations

from pathlib import Path

import zmq

from funcx_lab.config import write_private
from funcx_lab.errors import ConfigError


def load_key(path: Path) -> bytes:
    """Return the secret key (Z85) in ``path``, made with mode 0600 when absent.

    Raises
    ------
    ConfigError
        If it cannot be read, is no key, or others can read it.
    """
    try:
        secret = path.read_bytes().strip()
    except FileNotFoundError:
        _, secret = zmq.curve_keypair()
        write_private(path, secret.decode() + "\n")
        return secret
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if path.stat().st_mode & 0o077:
        raise ConfigError(
            f"Others can read {path}; `chmod 600` it, or remove it and enrol every endpoint anew."
        )
    if len(secret) != 40:
        raise ConfigError(
            f"{path} is not a CURVE key; restore it, or remove it and enrol every endpoint anew."
        )
    return secret
