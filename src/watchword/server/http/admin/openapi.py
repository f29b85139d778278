"""OpenAPI 3.1 from the route table: what is served is what is described."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from .routes import KEY_PATTERN, Route

_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "field": {"type": "string"}, "request_id": {"type": "string"},
    },
}  # fmt: skip
_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "description": "A new UUID for each request. The same application can repeat the request for 24 hours: it gets the "
    "first answer again, secrets included, and nothing is changed. 422: the key came with another request. "
    "409: the first request has not ended, or its answer is lost.",
    "schema": {"type": "string", "pattern": KEY_PATTERN},
}  # fmt: skip


def document(routes: list[Route], token_url: str) -> dict[str, Any]:
    """The whole description."""
    types = list(dict.fromkeys(t for route in routes for t in (route.body, route.reply) if t is not None))
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    scopes = {route.scope: route.scope for route in routes}
    flow = {"clientCredentials": {"tokenUrl": token_url, "scopes": scopes}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Watchword admin API", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {"watchword": {"type": "oauth2", "flows": flow}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    parameters = [_parameter(name, "path") for name in re.findall(r"{(\w+)}", route.path)]
    parameters += [_parameter(name, "query", route.about.get(name, "")) for name in route.query]
    parameters += [_IDEMPOTENCY_KEY] if route.creates else []
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": route.handler.__name__,
        "security": [{"watchword": [route.scope]}],
        "parameters": parameters,
        "responses": {str(route.status): _success(route), "default": _problem()},
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(route.body)}},
        }
    return operation


def _parameter(name: str, place: str, about: str = "") -> dict[str, Any]:
    schema = {"type": "integer", "minimum": 1, "maximum": 500} if name == "limit" else {"type": "string"}
    told = {"description": about} if about else {}
    return {"name": name, "in": place, "required": place == "path", "schema": schema, **told}


def _success(route: Route) -> dict[str, Any]:
    if route.status == 204:
        return {"description": route.summary}
    shape: dict[str, Any] = {"type": "object"} if route.reply is None else _ref(route.reply)
    if (
        route.query
        or route.handler.__name__.startswith("list_")
        or route.handler.__name__ in ("rotate_key", "add_anchors")
    ):
        shape = {
            "type": "object",
            "required": ["items"],
            "properties": {
                "items": {"type": "array", "items": shape},
                "next": {"type": ["string", "null"]},
            },
        }
    return {
        "description": route.summary,
        "content": {"application/json": {"schema": shape}},
    }


def _problem() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": "refused (RFC 9457)",
        "content": {"application/problem+json": {"schema": schema}},
    }


def _ref(kind: Any) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
