"""The form of a route: what it takes, what it replies, and how it is described."""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

JSON, BYTES = "application/json", "application/octet-stream"


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A route.

    path, method: of requests.
    request: type of what it takes: the JSON of a POST, or the parameters of others.
    reply: type of the JSON that it replies, or the content type of anything else.
    call: takes the request and what was read of it; returns the reply, or a `Response`.
    summary: of what it does.
    statuses: of its errors, besides those of every route.
    content_type: of the body of a POST.
    """

    path: str
    method: str
    request: Any
    reply: Any
    call: Callable[[Request, Any], Awaitable[Any]]
    summary: str
    statuses: tuple[int, ...] = ()
    content_type: str = JSON

    @property
    def takes_body(self) -> bool:
        """Whether it takes JSON, and not parameters."""
        return self.method == "POST" and self.content_type == JSON


class JsonResponse(Response):
    """A reply as JSON."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        """Returns the JSON of a reply."""
        return msgspec.json.encode(content)
