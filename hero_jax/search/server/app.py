"""The application: routes, what every answer carries, and errors as sentences."""

import contextlib
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from data.errors import InputError
from hero_jax.search.server.api import ErrorReply
from hero_jax.search.server.archive import Unknown
from hero_jax.search.server.batching import Busy, Late
from hero_jax.search.server.endpoints import Service
from hero_jax.search.server.metrics import Metrics
from hero_jax.search.server.openapi import description
from hero_jax.search.server.routes import Endpoint, JsonResponse

STATIC = Path(__file__).parent / "static"
LARGEST_BODY = 1 << 18
_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:"),
        *("media-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'none'"),
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


def make_app(service: Service, metrics: Metrics, hosts: frozenset[str]) -> ASGIApp:
    """Returns the application.

    Args:
      hosts: names by which it may be asked for; none for any. A page of another site that has its
        own name point here is refused by that.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await service.start()
        yield
        await service.stop()

    endpoints = service.endpoints()
    routes: list[Any] = [
        Route(one.path, _handler(one, metrics), methods=[one.method]) for one in endpoints
    ]
    text = msgspec.json.encode(description(endpoints))
    routes += [
        Route("/openapi.json", lambda request: Response(text, media_type="application/json")),
        Mount("/", StaticFiles(directory=STATIC, html=True)),
    ]
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={HTTPException: _http_error, Exception: _fault},
    )
    return _Guard(app, hosts, service)


@dataclasses.dataclass(frozen=True)
class _Guard:
    """Refuses other names of the host, and adds to every answer what protects it."""

    app: ASGIApp
    hosts: frozenset[str]
    service: Service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-cache")
                if self.service.closing.is_set():
                    headers["connection"] = "close"
            await send(message)

        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self.hosts and _name(host) not in self.hosts:
            error = _error(421, f"this server is not {host!r}: ask for it by its own name")
            await error(scope, receive, guarded)
            return
        await self.app(scope, receive, guarded)


def _name(host: str) -> str:
    """Returns a Host header without the port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdecimal() else host


def _handler(endpoint: Endpoint, metrics: Metrics) -> Callable[[Request], Awaitable[Response]]:
    """Returns a route's function, which reads the request, and turns errors into answers."""

    async def handle(request: Request) -> Response:
        begun = time.monotonic()
        try:
            response = await _answer(endpoint, request)
        except ClientDisconnect:
            response = Response(status_code=499)
        except msgspec.ValidationError as error:
            response = _error(422, f"the request cannot be used: {error}")
        except msgspec.DecodeError as error:
            response = _error(400, f"the request is no JSON: {error}")
        except Unknown as error:
            response = _error(404, str(error))
        except InputError as error:
            response = _error(422, str(error))
        except Busy as error:
            response = _error(503, str(error), {"retry-after": str(error.seconds)})
        except Late:
            response = _error(504, "no answer before the deadline: try again later")
        metrics.answered(endpoint.path, response.status_code, time.monotonic() - begun)
        return response

    return handle


async def _answer(endpoint: Endpoint, request: Request) -> Response:
    if endpoint.method == "POST":
        # Such a type lets no page of another site send it unasked.
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != endpoint.content_type:
            return _error(415, f"send it as {endpoint.content_type}")
    if endpoint.takes_body:
        content = await _body(request)
        if content is None:
            return _error(413, f"the request is longer than {LARGEST_BODY} bytes")
        given = msgspec.json.decode(content, type=endpoint.request)
    else:
        given = msgspec.convert(dict(request.query_params), endpoint.request, strict=False)
    reply = await endpoint.call(request, given)
    return reply if isinstance(reply, Response) else JsonResponse(reply)


async def _body(request: Request) -> bytes | None:
    """Returns the body of a request, None if it is too long."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST_BODY:
            return None
    return bytes(content)


def _error(status: int, sentence: str, headers: dict[str, str] | None = None) -> Response:
    return JsonResponse(ErrorReply(sentence), status, headers)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, error.detail, dict(error.headers or {}))


async def _fault(request: Request, error: Exception) -> Response:
    return _error(500, "the server has a fault, which its terminal shows")
