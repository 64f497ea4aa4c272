"""The description of the API in OpenAPI 3.1, made from its routes and their types."""

import http
import inspect
from collections.abc import Sequence
from typing import Any

import msgspec

from hero_jax.search.server.api import ErrorReply
from hero_jax.search.server.routes import JSON, Endpoint

_REFERENCE = "#/components/schemas/{name}"
# Of every route that takes something.
_REFUSED = (400, 422)


def description(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Returns the description of some routes."""
    types = [ErrorReply]
    for one in endpoints:
        types += [one.request] if one.takes_body else []
        types += [one.reply] if not isinstance(one.reply, str) else []
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Search of videos", "version": "1"},
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(one: Endpoint, by_type: dict[Any, Any]) -> dict[str, Any]:
    kind, schema = (one.reply, {}) if isinstance(one.reply, str) else (JSON, by_type[one.reply])
    replies = {"200": {"description": "The reply.", "content": {kind: {"schema": schema}}}}
    fields = msgspec.structs.fields(one.request)
    statuses = {*one.statuses, *(_REFUSED if fields else ()), *((415,) * (one.method == "POST"))}
    for status in sorted(statuses):
        content = {JSON: {"schema": by_type[ErrorReply]}} if status >= 400 else {}
        replies[str(status)] = {
            "description": http.HTTPStatus(status).phrase,
            "content": content,
        }
    operation: dict[str, Any] = {"summary": one.summary, "responses": replies}
    if one.takes_body:
        operation["requestBody"] = {
            "required": True,
            "content": {JSON: {"schema": by_type[one.request]}},
        }
    elif one.method == "POST":
        operation["requestBody"] = {"required": True, "content": {one.content_type: {}}}
    if not one.takes_body:
        operation["parameters"] = [
            {
                "name": field.encode_name,
                "in": "query",
                "required": field.required,
                "schema": msgspec.json.schema(field.type),
            }
            for field in fields
        ]
    if text := inspect.getdoc(one.request):
        operation["description"] = text
    return operation
