"""The calls of MMPs as OpenAPI paths."""

from collections.abc import Mapping
from typing import Any

ANSWERS = {
    "400": "the body is neither JSON objects nor a form",
    "401": "no feed of that name, or not its secret",
    "408": "the body took too long",
    "413": "too large, or too many fields",
    "429": "too many messages wait; Retry-After says when to come again",
    "503": "not durable: send again",
}


def feed_paths(problem: Mapping[str, Any]) -> dict[str, Any]:
    """`problem` is what every error holds."""
    names = ("mmp", "feed", "secret")
    counts = {name: {"type": "integer"} for name in ("taken", "passed_over", "refused")}
    why = {"type": "array", "items": {"type": "string"}}
    done = {"type": "object", "required": ["taken"], "properties": {**counts, "why": why}}
    call = {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ],
        "security": [],
        "responses": {
            "200": {"description": "durable", "content": {"application/json": {"schema": done}}},
            **{code: {"description": words, **problem} for code, words in ANSWERS.items()},
        },
    }
    message: dict[str, Any] = {"type": "object"}
    body = {
        "application/json": {"schema": {"oneOf": [message, {"type": "array", "items": message}]}},
        "application/x-www-form-urlencoded": {"schema": message},
    }
    return {
        "/v1/attribution/{mmp}/{feed}/{secret}": {
            "get": {
                "operationId": "feedByQuery",
                "summary": "For MMPs: one message, as the query",
                **call,
            },
            "post": {
                "operationId": "feedByBody",
                "summary": "For MMPs: one message or several",
                "requestBody": {"required": True, "content": body},
                **call,
            },
        }
    }
