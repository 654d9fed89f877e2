"""The composition root: what the hub service is made of, started and stopped in order."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import tornado.web

import funcx_lab
from funcx_lab.config import write_private
from funcx_lab.crash_points import crash_point
from funcx_lab.errors import (
    ConfigError,
    MissingExtra,
    NotAuthenticated,
    ServiceStartError,
    ServiceUnavailable,
)
from funcx_lab.locks import take_lock
from funcx_lab.protocol.stream import STREAM_LIMIT
from funcx_lab_hub_service.admission import Admission, Quotas
from funcx_lab_hub_service.audit import Audit
from funcx_lab_hub_service.auth.principals import Principal
from funcx_lab_hub_service.auth.sessions import Sessions
from funcx_lab_hub_service.auth.tokens import Tokens
from funcx_lab_hub_service.config import ServiceConfig
from funcx_lab_hub_service.dashboards.entrance import routes as dashboard_routes
from funcx_lab_hub_service.dashboards.history import History
from funcx_lab_hub_service.dashboards.mount import Dashboards
from funcx_lab_hub_service.endpoints import Endpoints
from funcx_lab_hub_service.feed import Feed
from funcx_lab_hub_service.forwarder.forwarder import Forwarder
from funcx_lab_hub_service.functions import Functions
from funcx_lab_hub_service.handlers import pages, pattern, routes
from funcx_lab_hub_service.handlers.base import DROPPED_LIMIT, NoRoute
from funcx_lab_hub_service.handlers.gate import Gate
from funcx_lab_hub_service.handlers.poll import PollHandler
from funcx_lab_hub_service.handlers.services import Services
from funcx_lab_hub_service.handlers.sockets import SocketHandler
from funcx_lab_hub_service.listening import CappedServer, Ports, bind, connection_limit, tls_context
from funcx_lab_hub_service.local_endpoint import LocalEndpoint
from funcx_lab_hub_service.objects import Objects
from funcx_lab_hub_service.sharing import Sharing
from funcx_lab_hub_service.store.backup import Backups
from funcx_lab_hub_service.store.boot import is_copy
from funcx_lab_hub_service.store.database import Database
from funcx_lab_hub_service.store.reserve import Reserve
from funcx_lab_hub_service.store.tasks import live_by_owner
from funcx_lab_hub_service.sweeping import DAY_S, Ages, Sweeper
from funcx_lab_hub_service.tasks import Tasks
from funcx_lab_hub_service.vitals import end_with

if TYPE_CHECKING:
    from funcx_lab_hub_service.auth.jupyterhub import JupyterHub

logger = logging.getLogger(__name__)

_LOCAL_STOP_S = 6.0
#: Requests that are being answered have so many seconds when the service stops.
_LAST_ANSWERS_S = 1.0
#: How often revoked keys are looked for and the audit log is written, seconds.
_ROUND_S = 1.0
#: A connection on which nothing is asked, and one whose body does not end, are closed after so many seconds.
_IDLE_S, _BODY_S = 300.0, 3600.0
_PING_S = 20.0
_CHUNK = 256 * 1024


class HubService:
    """One hub service.

    Parameters
    ----------
    config : ServiceConfig
        How it runs.

    Attributes
    ----------
    url : str
        Where it listens; set by `start`.
    damage : str
        What is wrong with the database; it is served read-only then. ``""`` if nothing is.
    """

    def __init__(self, config: ServiceConfig) -> None:
        config.check()
        self.config = config
        self.url = self.damage = ""
        self.ports = Ports(config.data / "ports.json")
        self._server: CappedServer | None = None
        self._started = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Open the store, listen, and tell where.

        Raises
        ------
        ServiceStartError
            If another hub service holds the directory, or the port is taken.
        ConfigError
            If files cannot be used.
        """
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop accepting, commit what was accepted, and leave; harmless when called twice."""
        if self._server is not None:
            self.services.gate.stopping = True
            self._server.stop()
        await self._started.aclose()

    async def _start(self) -> None:
        config = self.config
        config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.data.chmod(0o700)
        self._take_locks()
        self.audit = Audit(config.audit)
        self._started.callback(self.audit.flush)
        self.reserve = Reserve(config.data, config.disk_reserve)
        self.database = Database(config.database, reserve=self.reserve)
        self._started.push_async_callback(self.database.close)
        await self.database.start()
        self.damage = self.database.damage
        self.hub = self._join_hub()
        self.tokens = Tokens(self.database, hub=self.hub)
        self.services = self._wire()
        sweeper = None if self.damage else self._sweeper()
        if config.home is not None:
            await self._provide_token(config.home / "token")
        if not self.damage:
            await self.forwarder.start()
            self.ports.set("forwarder", self.forwarder.port)
        self._listen()
        crash_point("hub.listening")
        if sweeper is not None:
            self._begin_upkeep(sweeper)
        self._begin_rounds()
        if config.home is not None:
            self._write_service_file(config.home / "service.json")
            if not self.damage:
                await self._start_local_endpoint(config.home)
        self.audit.note("start", version=funcx_lab.__version__, boot=self.database.boot, damage=self.damage)

    def _wire(self) -> Services:
        """Build the rules on the store and the forwarder on the rules."""
        config, database = self.config, self.database
        feed = Feed()
        sharing = Sharing(database)
        sharing.start()
        functions = Functions(database, sharing)
        endpoints = Endpoints(database, sharing)
        endpoints.start()
        quotas = Quotas(config.user_tasks, config.user_bytes, config.all_tasks)
        open_tasks = live_by_owner(database.reader) if quotas.any else {}
        admission = Admission(quotas, open_tasks, self.reserve.check)
        tasks = Tasks(database, endpoints, functions, feed, admission=admission)
        history = tasks.facts.observer = History()
        self.dashboards = Dashboards(database, endpoints, history, config.prefix)
        self._started.push_async_callback(self.dashboards.stop)
        if not self.damage and is_copy(database.reader):
            tasks.facts.end_doubtful()
        door = config.forwarder_bind or config.host
        self.forwarder = Forwarder(
            tasks,
            endpoints,
            functions,
            boot=database.boot,
            key_file=config.data / "forwarder.key",
            host="127.0.0.1" if door == "localhost" else door,
            port=config.forwarder_port,
            last_port=self.ports.get("forwarder"),
            public_host=config.forwarder_host,
            on_refused=lambda address: self.audit.denied(address, "UNKNOWN_KEY", "forwarder"),
        )
        self._started.push_async_callback(self.forwarder.stop)
        return Services(
            config=config,
            tokens=self.tokens,
            functions=functions,
            endpoints=endpoints,
            tasks=tasks,
            objects=Objects(database, config.data / "objects", config.object_limit, self.reserve.check),
            feed=feed,
            link=self.forwarder,
            hosts=set(),
            gate=Gate(
                self.audit,
                config.request_rate,
                config.request_burst,
                damage=self.damage,
                notice=self.database.notice,
            ),
            audit=self.audit,
            sharing=sharing,
            sessions=Sessions(),
            hub=self.hub,
        )

    def _join_hub(self) -> JupyterHub | None:
        """Return the JupyterHub that this is a service of, if it is one."""
        if not self.config.jupyterhub:
            return None
        logging.getLogger("alembic").setLevel(logging.WARNING)  # tells of plugins that nobody uses here
        try:  # the extra's packages are needed by such a service only
            from funcx_lab_hub_service.auth.jupyterhub import JupyterHub
        except ImportError as err:
            raise MissingExtra(
                f"A service of JupyterHub needs `pip install 'funcx-lab[jupyterhub]'` ({err})."
            ) from err
        hub = JupyterHub(fresh_s=self.config.jupyterhub_fresh_s)
        self._started.push_async_callback(hub.stop)
        return hub

    def _sweeper(self) -> Sweeper:
        """Return what sweeps; made before anything writes down a time of this life."""
        days = (self.config.ttl_days, self.config.retention_days, self.config.tombstone_days)
        ages = Ages(*(DAY_S * age for age in days))
        return Sweeper(self.database, self.services.tasks, self.services.objects, ages, self.reserve)

    def _begin_upkeep(self, sweeper: Sweeper) -> None:
        """Sweep what goes for its age, and make backups."""
        config = self.config
        sweeper.start()
        self._started.push_async_callback(sweeper.stop)
        backups = Backups(config.database, 60 * config.backup_minutes)
        backups.start()
        self._started.callback(backups.stop)

    def _take_locks(self) -> None:
        """Hold home and data for life: liveness is the lock, and one data directory has one writer."""
        for directory in (self.config.home, self.config.data):
            if directory is None:
                continue
            path = directory / "service.lock"
            descriptor = take_lock(path, wait_s=1.0)
            if descriptor is None:
                raise ServiceStartError(
                    f"Another hub service runs on {directory} already: it holds {path}. "
                    "Use that one, stop it first, or choose another directory."
                )
            self._started.callback(os.close, descriptor)

    async def _provide_token(self, path: Path) -> None:
        """Keep the embedded user's token while it works, else make one."""
        try:
            token = path.read_text(encoding="ascii").strip()
            others_read = path.stat().st_mode & 0o077
        except FileNotFoundError:
            token, others_read = "", 0
        except (OSError, UnicodeDecodeError) as err:
            raise ConfigError(f"{path} cannot be read: {err}. Remove it to get a new token.") from err
        if others_read:
            raise ConfigError(f"Others can read {path}. Remove it to get a new token.")
        try:
            self.tokens.verify(token)
        except NotAuthenticated:
            write_private(path, await self.tokens.create(self.config.user, label="embedded") + "\n")
            self.audit.note("token-created", user=self.config.user, label="embedded")

    # --- HTTP ---------------------------------------------------------------------------------------

    def _listen(self) -> None:
        config = self.config
        sockets = bind(config.host, config.port, self.ports.get("http"))
        port = sockets[0].getsockname()[1]
        scheme = "http" if config.certfile is None else "https"
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.url = f"{scheme}://{host}:{port}{config.prefix}"
        names = {host, "localhost", "127.0.0.1"}
        self.services.hosts.update(f"{name.lower()}:{port}" for name in names)
        self.services.hosts.update(name.lower() for name in config.public_hosts)
        self.ports.set("http", port)
        self._server = server = CappedServer(
            self._application(),
            ssl_options=config.certfile and tls_context(config.certfile, config.keyfile),
            max_body_size=max(config.object_limit, DROPPED_LIMIT),
            chunk_size=_CHUNK,
            idle_connection_timeout=_IDLE_S,
            body_timeout=_BODY_S,
            xheaders=config.jupyterhub,  # its proxy tells whom it speaks for
        )
        server.cap(connection_limit())
        self._started.push_async_callback(self._close_connections, server)
        server.add_sockets(sockets)

    def _application(self) -> tornado.web.Application:
        return tornado.web.Application(
            [
                (pattern(self.config.prefix + path), handler)
                for path, handler in [*routes, *pages, *dashboard_routes]
            ],
            default_handler_class=NoRoute,
            services=self.services,
            dashboards=self.dashboards,
            websocket_max_message_size=STREAM_LIMIT,
            websocket_ping_interval=_PING_S,
            log_function=_log_request,
            cookie_secret=secrets.token_bytes(32),
        )

    async def _close_connections(self, server: CappedServer) -> None:
        """Let what was accepted be committed and answered, hang up."""
        self._server = None
        waiting: list[SocketHandler | PollHandler] = [*SocketHandler.open_sockets, *PollHandler.open_polls]
        for handler in waiting:
            if handler.services is self.services:
                handler.leave()
        with contextlib.suppress(ServiceUnavailable):
            await self.database.write(lambda connection: None)
        end = time.monotonic() + _LAST_ANSWERS_S
        while self.services.gate.busy and time.monotonic() < end:
            await asyncio.sleep(0.01)
        await server.close_all_connections()

    # --- now and then -------------------------------------------------------------------------------

    def _begin_rounds(self) -> None:
        task = end_with(asyncio.create_task(self._go_round(), name="rounds"))
        self._started.callback(task.cancel)

    async def _go_round(self) -> None:
        while True:
            await asyncio.sleep(_ROUND_S)
            self.services.endpoints.revoke_keys()
            await asyncio.to_thread(self.audit.flush)

    # --- files --------------------------------------------------------------------------------------

    def _write_service_file(self, path: Path) -> None:
        document = {
            "url": self.url,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "version": funcx_lab.__version__,
            "started": time.time(),
        }
        self._started.callback(path.unlink, missing_ok=True)
        write_private(path, json.dumps(document))

    async def _start_local_endpoint(self, home: Path) -> None:
        endpoint = LocalEndpoint(home, self.services.endpoints, Principal(self.config.user))

        async def stop() -> None:
            try:
                await asyncio.wait_for(endpoint.stop(), _LOCAL_STOP_S)
            except asyncio.TimeoutError:
                logger.warning("the endpoint `local` did not stop within %s s", _LOCAL_STOP_S)

        self._started.push_async_callback(stop)
        await endpoint.start()


def _log_request(handler: tornado.web.RequestHandler) -> None:
    request = handler.request
    logger.debug(
        "%s %s %s %.1f ms", handler.get_status(), request.method, request.path, 1000 * request.request_time()
    )
