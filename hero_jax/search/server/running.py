"""The server's process: it listens, and stops without losing a request."""

import asyncio
import socket
import time

import uvicorn
from starlette.types import ASGIApp

from data.errors import InputError
from hero_jax.search.server.endpoints import Service

# Seconds for which a server that stops waits for clients to see that they should connect no more.
LINGER = 1.0
# Seconds for which an unused connection stays open.
KEEP_ALIVE = 30


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that takes connections; raises InputError if that is not possible."""
    if not 0 <= port < 1 << 16:
        raise InputError(f"--port={port} is no port: give a number from 0 to {(1 << 16) - 1}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"{host}:{port} cannot be listened on ({error}): give another --host or --port"
        ) from error
    return listener


class Server(uvicorn.Server):
    """A server that answers everything that it has accepted before it ends."""

    def __init__(self, app: ASGIApp, service: Service):
        """Takes the application and its routes."""
        self._service = service
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            http="h11",
            ws="none",
            lifespan="on",
            loop="asyncio",
            timeout_keep_alive=KEEP_ALIVE,
            # A film that is being played does not hold the end up for longer than a search would.
            timeout_graceful_shutdown=int(service.batcher.bounds.deadline) + 1,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops listening, answers what was accepted, and ends.

        Answers say from now on that the connection is closed after them. One that is closed while
        its client sends the next request would lose that, so those that are silent come last.
        """
        self._service.closing.set()
        for server in self.servers:
            server.close()
        until = time.monotonic() + LINGER
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)
