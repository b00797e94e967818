"""Starts the server, and stops it so that every accepted request is answered."""

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn

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
    with _listening(settings) as listener:
        host, port = listener.getsockname()[:2]
        said(f"loading {settings.model}")
        judge = load(settings)
        service = Service(settings, judge)
        shown = f"[{host}]" if ":" in host else host
        said(
            f"serving {service.name} (domain '{judge.domain.name}', mode {settings.mode}) on http://{shown}:{port}; "
            "the page of the API is /docs, Ctrl-C stops"
        )
        if asyncio.run(_until_stopped(service, build_app(service, keys, admin_keys), listener)):
            raise SystemExit(1)
    said("stopped; all accepted requests were answered")


async def _until_stopped(service: Service, app: object, listener: socket.socket) -> bool:
    """Serve until a signal. Returns whether the collector has failed, so that a supervisor must start it again."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
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


def _listening(settings: ServeSettings) -> socket.socket:
    """The listening socket, before the model is loaded: a port in use is found at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise UserError(
            f"--host {settings.host} --port {settings.port}: cannot listen ({error.strerror}); choose another"
        ) from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
