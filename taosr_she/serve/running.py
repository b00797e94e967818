"""Starts the server, and stops it so that every accepted request is answered."""

import asyncio
import ipaddress
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp

from taosr_she.base.errors import UserError
from taosr_she.serve.app import build_app
from taosr_she.serve.keys import ADMIN_VARIABLE, VARIABLE, read_keys
from taosr_she.serve.loading import load
from taosr_she.serve.service import Service
from taosr_she.serve.settings import ServeSettings

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals, which would exit with the signal's code."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def serve(settings: ServeSettings, said: Callable[[str], None]) -> None:
    """Load the model and answer requests until SIGTERM or SIGINT. `said` gets the lines for people.

    Raises UserError if the address, the keys or the model cannot be used.
    """
    keys, admin_keys = read_keys(settings.keys, VARIABLE), read_keys(settings.admin_keys, ADMIN_VARIABLE)
    if not keys and not settings.without_keys and not _is_loopback(settings.host):
        raise UserError(
            f"--host {settings.host} can be reached by others, and there are no keys: give --keys FILE (or "
            f"{VARIABLE}), or insist with --without-keys"
        )
    with listening(settings) as listener:
        host, port = listener.getsockname()[:2]
        said(f"loading {settings.model}")
        service = Service(settings, load(settings))
        shown = f"[{host}]" if ":" in host else host
        ready = (
            f"serving {service.name} (domain '{service.judge.domain.name}', mode {settings.mode}) on "
            f"http://{shown}:{port}; the page of the API is /docs, Ctrl-C stops"
        )
        app = build_app(service, keys, admin_keys)
        if asyncio.run(_until_stopped(service, app, listener, lambda: said(ready))):
            raise SystemExit(1)
    said("stopped; all accepted requests were answered")


async def _until_stopped(service: Service, app: ASGIApp, listener: socket.socket, started: Callable[[], None]) -> bool:
    """Serve until a signal, and call `started` when requests and signals are answered.

    Returns whether the collector has failed, so that a supervisor must start the process again.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=75,
        backlog=2048,
        ws="none",
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def stop() -> None:
        if service.stopping:  # a second signal does not wait
            server.should_exit = server.force_exit = True
            return
        tasks.add(asyncio.create_task(_stop(service, server)))

    def reload() -> None:
        tasks.add(asyncio.create_task(_reload(service)))

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    serving = asyncio.create_task(server.serve([listener]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.005)
    started()
    await asyncio.wait({serving, service.collector}, return_when=asyncio.FIRST_COMPLETED)
    failed = service.collector.done() and not service.collector.cancelled()
    if failed:
        log.critical("the collector failed", exc_info=service.collector.exception())
        server.should_exit = server.force_exit = True
    await serving
    return failed


async def _stop(service: Service, server: uvicorn.Server) -> None:
    await service.stop()
    server.should_exit = True


async def _reload(service: Service) -> None:
    with suppress(UserError):  # the service has logged it
        await service.reload()


def listening(settings: ServeSettings) -> socket.socket:
    """The listening socket, before the model is loaded: a port in use is found at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UserError(
            f"--host {settings.host} --port {settings.port}: cannot listen ({reason}); choose another"
        ) from error
    # Connections inherit it. asyncio does not set it for sockets of this kind, and without it a reply, which is written
    # in two parts, waits 40 ms for the other side's acknowledgement.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
