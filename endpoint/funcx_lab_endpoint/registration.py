"""Make the endpoint known to a hub service, and find that service again later."""

from __future__ import annotations

import json
import threading
from urllib.parse import urlsplit

from funcx_lab.config import Service, home, read_json, write_private
from funcx_lab.errors import (
    ConfigError,
    EndpointNotFound,
    NotAuthenticated,
    NotAuthorized,
    ServiceUnreachable,
    TransportError,
    UsageError,
)
from funcx_lab.transport import Transport
from funcx_lab_endpoint.files import EndpointFiles, Enrolment
from funcx_lab_endpoint.link import KeyPair, Target, new_key_pair

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ANSWER_TIMEOUT_S = 15.0


def register(files: EndpointFiles, service: Service, *, insecure: bool = False) -> Enrolment:
    """Register the endpoint as the user of ``service``, then enrol it.

    Raises
    ------
    FuncxLabError
        If the hub service cannot be reached or says no.
    """
    check_address(service.url, insecure=insecure)
    transport = Transport(Service(service.url, service.token), timeout=_ANSWER_TIMEOUT_S)
    answer = transport.json("POST", "/v3/endpoints", {"endpoint_name": files.name}, repeatable=True)
    transport.close()
    return enrol(files, service.url, answer["endpoint_id"], answer["enrolment_token"], insecure=insecure)


def enrol(
    files: EndpointFiles, url: str, endpoint_id: str, enrolment_token: str, *, insecure: bool = False
) -> Enrolment:
    """Make a key pair here, show its public half with the one-time token, and keep what comes back.

    Parameters
    ----------
    endpoint_id, enrolment_token : str
        What registering gave; the token works once, for 15 minutes.
    insecure : bool
        Allow plain HTTP to another machine.

    Raises
    ------
    FuncxLabError
        If the hub service cannot be reached or says no.
    """
    check_address(url, insecure=insecure)
    keys = new_key_pair()
    transport = Transport(Service(url, enrolment_token), timeout=_ANSWER_TIMEOUT_S)
    body = {"enrolment_token": enrolment_token, "public_key": keys.public}
    answer = transport.json("POST", f"/v3/endpoints/{endpoint_id}/enrol", body)
    transport.close()
    enrolment = Enrolment(
        name=files.name,
        endpoint_id=endpoint_id,
        url=url.rstrip("/"),
        forwarder_address=answer["forwarder_address"],
        forwarder_key=answer["forwarder_key"],
        agent_token=answer["agent_token"],
    )
    write_private(files.key, json.dumps({"public": keys.public, "secret": keys.secret}) + "\n")
    files.save_enrolment(enrolment)
    return enrolment


def deregister(enrolment: Enrolment, service: Service) -> None:
    """Delete the endpoint at the hub service; one that is gone already is fine.

    Raises
    ------
    FuncxLabError
        If the hub service cannot be reached or says no.
    """
    transport = Transport(Service(service.url, service.token), timeout=_ANSWER_TIMEOUT_S)
    try:
        transport.json("DELETE", f"/v2/endpoints/{enrolment.endpoint_id}")
    except EndpointNotFound:
        pass
    finally:
        transport.close()


def check_address(url: str, *, insecure: bool = False) -> None:
    """Refuse an address over which a token would travel in the clear.

    Raises
    ------
    UsageError
        If it is no HTTP address, or plain HTTP to another machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{url!r} is not an address like https://host/path.")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not insecure:
        raise UsageError(f"{url!r} would send the token in the clear; use https (or --insecure).")


def embedded_service() -> Service:
    """Return this user's own hub service, as its files say; it is never started from here.

    Raises
    ------
    ServiceUnreachable
        If it does not run.
    """
    document = read_json(home() / "service.json") or {}
    url = document.get("url")
    try:
        token = (home() / "token").read_text(encoding="utf-8").strip()
    except OSError:
        token = ""
    if not isinstance(url, str) or not token:
        raise ServiceUnreachable("The local hub service does not run; `funcx-lab start` starts it.")
    return Service(url, token)


class HubAccess:
    """The hub service as a running agent reaches it; safe to share between threads.

    Parameters
    ----------
    files : EndpointFiles
        With an enrolment, unless ``embedded``.
    embedded : bool
        The service is this user's own: its address may change at each of its starts, and an endpoint it
        has forgotten is enrolled again.
    """

    def __init__(self, files: EndpointFiles, *, embedded: bool) -> None:
        self._files = files
        self._embedded = embedded
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._rejected = False

    def reject(self) -> None:
        """Take note that the hub service does not know this endpoint's key."""
        self._rejected = True

    def target(self) -> Target:
        """Ask where the forwarder listens now.

        Raises
        ------
        FuncxLabError
            If that cannot be found out.
        """
        enrolment = self._enrolment()
        try:
            answer = self.transport().json("GET", "/v3/link")
        except (NotAuthenticated, NotAuthorized):
            self._rejected = True
            if not self._embedded:
                raise
            enrolment = self._enrolment()
            answer = self.transport().json("GET", "/v3/link")
        except TransportError:
            if self._embedded:
                raise
            return self._target(enrolment.forwarder_address, enrolment.forwarder_key)
        return self._target(answer["forwarder_address"], answer["forwarder_key"])

    def transport(self) -> Transport:
        """Return HTTP access with the agent's token.

        Raises
        ------
        FuncxLabError
            If the endpoint is not enrolled or the local service does not run.
        """
        enrolment = self._enrolment()
        url = embedded_service().url if self._embedded else enrolment.url
        service = Service(url, enrolment.agent_token)
        with self._lock:
            if self._transport is None or self._transport.service != service:
                # Who uses it tries again by itself, with the address that is right by then.
                self._transport = Transport(service, attempts=1)
            return self._transport

    def _enrolment(self) -> Enrolment:
        with self._lock:
            enrolment = self._files.enrolment()
            if self._embedded and (enrolment is None or self._rejected or not self._files.key.exists()):
                enrolment = register(self._files, embedded_service())
                self._rejected = False
        if enrolment is None:
            name = self._files.name
            raise ConfigError(f"{name} is not registered; run `funcx-endpoint configure {name}`.")
        return enrolment

    def _target(self, address: str, key: str) -> Target:
        # A pinned key may change only over the authenticated HTTPS that gave it at first.
        return Target(address, key, read_keys(self._files))


def read_keys(files: EndpointFiles) -> KeyPair:
    """Return the endpoint's key pair.

    Raises
    ------
    ConfigError
        If there is none, it is damaged, or others can read it.
    """
    document = read_json(files.key) or {}
    public, secret = document.get("public"), document.get("secret")
    if not isinstance(public, str) or not isinstance(secret, str):
        raise ConfigError(
            f"{files.key} is missing or damaged; run `funcx-endpoint configure {files.name}` again."
        )
    if files.key.stat().st_mode & 0o077:
        raise ConfigError(f"{files.key} can be read by others; run `chmod 600` on it, or make a new one.")
    return KeyPair(public, secret)
