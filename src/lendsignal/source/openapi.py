"""The OpenAPI document of the door, made from the types that it checks by."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, defstruct

from lendsignal import __version__
from lendsignal.model import KEY_FIELD, Event
from lendsignal.source.feeds.paths import feed_paths
from lendsignal.source.reading import AMOUNTS
from lendsignal.source.relay import relay_paths
from lendsignal.source.segment_door import segment_paths
from lendsignal.source.settings import DoorSettings

OURS = ("source", "flags", "contact", "history", "received_at")
"""Fields of an event in the log that the sender does not give."""


def event_schema() -> dict[str, Any]:
    """The JSON Schema of one event as a sender writes it."""
    info = msgspec.inspect.type_info(Event)
    assert isinstance(info, msgspec.inspect.StructType)
    hints = Event.__annotations__
    fields: list[Any] = []
    for field in info.fields:
        if field.name in OURS or field.name in ("occurred_at", "event_id"):
            continue
        kind = hints[field.name]
        default = {} if field.name == "properties" else field.default
        fields.append((field.name, kind) if field.required else (field.name, kind, default))
    fields.insert(
        0,
        (
            "occurred_at",
            Annotated[datetime | int, Meta(description="RFC 3339 with an offset, or epoch milliseconds")],
        ),
    )
    fields += [
        ("event_id", Annotated[str, Meta(max_length=128, description="advised; derived where absent")], ""),
        ("email", Annotated[str, Meta(description="hashed at the door and never written")], ""),
        ("phone", Annotated[str, Meta(description="E.164; hashed at the door and never written")], ""),
        ("sent_at", Annotated[datetime | int, Meta(description="the phone's clock at sending")], 0),
    ]
    sender = defstruct("LoanEvent", fields, kw_only=True, forbid_unknown_fields=True)
    whole = msgspec.json.schema(sender)
    body: dict[str, Any] = whole["$defs"].pop("LoanEvent")
    for extra in ("event_id", "email", "phone", "sent_at"):
        body["properties"][extra].pop("default", None)
    for amount in AMOUNTS:
        # Taken as a JSON number, and as text where exactness matters to the sender.
        body["properties"][amount] = {"type": ["number", "string", "null"], "minimum": 0}
    body["description"] = "One thing that happened to a user, a loan or a phone."
    body["allOf"] = [
        {"if": {"properties": {"type": {"const": kind}}}, "then": {"required": [key]}}
        for kind, key in KEY_FIELD.items()
    ]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **body, "$defs": whole["$defs"]}


def openapi(settings: DoorSettings) -> dict[str, Any]:
    """OpenAPI 3.1 for the event calls, Segment's and MMPs' calls, the client relay and the health pages."""
    # Imported when somebody asks: the door lives without the reports.
    from lendsignal.report.catalog import REPORT_SCHEMA, report_paths

    event = event_schema()
    definitions = event.pop("$defs")
    event.pop("$schema")
    schemas = _moved({"Event": event, **definitions, **ANSWERS, "Report": REPORT_SCHEMA})
    one = {"$ref": "#/components/schemas/Event"}
    many = {"type": "array", "items": one, "maxItems": settings.max_events}
    problem = {"content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    refusals = {
        "400": "the body cannot be read",
        "401": "no API key, or one that is unknown or has ended",
        "403": "the API key lacks the scope",
        "408": "the body took too long",
        "413": f"more than {settings.max_events} events or {settings.max_bytes} bytes",
        "415": "an encoding other than gzip",
        "422": "refused: field and rule say why; kept in quarantine",
        "429": "too many events wait; Retry-After says when to come again",
        "503": "not durable: send again",
    }
    taken = {"oneOf": [{"$ref": "#/components/schemas/Taken"}, {"$ref": "#/components/schemas/Answers"}]}
    return {
        "openapi": "3.1.0",
        "info": {"title": "lendsignal", "version": __version__, "license": {"name": "Apache-2.0"}},
        "security": [{"key": []}],
        "paths": {
            "/v1/events": {
                "post": {
                    "operationId": "sendEvents",
                    "summary": "Send one event, an array, or one event a line",
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": {"oneOf": [one, many]}},
                            "application/x-ndjson": {"schema": {"type": "string"}},
                        },
                    },
                    "responses": {
                        "202": {
                            "description": "durable",
                            "content": {"application/json": {"schema": taken}},
                        },
                        **{code: {"description": why, **problem} for code, why in refusals.items()},
                    },
                }
            },
            "/v1/events/{id}": {
                "get": {
                    "operationId": "showEvent",
                    "summary": "The events of an id, with what was decided of each",
                    "parameters": [
                        {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
                    ],
                    "responses": {
                        "200": {
                            "description": "known",
                            "content": {
                                "application/json": {"schema": {"$ref": "#/components/schemas/Shown"}}
                            },
                        },
                        "401": {"description": refusals["401"], **problem},
                        "403": {"description": refusals["403"], **problem},
                        "404": {"description": "unknown", **problem},
                    },
                }
            },
            **relay_paths(problem),
            **feed_paths(problem),
            **segment_paths(),
            **report_paths(problem),
            **erasure_paths(problem),
            **{
                path: {
                    "get": {
                        "operationId": name,
                        "summary": summary,
                        "security": [],
                        "responses": {
                            code: {
                                "description": why,
                                "content": {"application/json": {"schema": {"type": "object"}}},
                            }
                            for code, why in codes.items()
                        },
                    }
                }
                for path, name, summary, codes in HEALTH
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "writeKey": {"type": "http", "scheme": "basic"},
                "installation": {"type": "http", "scheme": "bearer", "bearerFormat": "relay token"},
            },
        },
    }


def erasure_paths(problem: dict[str, Any]) -> dict[str, Any]:
    """The calls that have users erased; 404 where no source may have a key of the scope `admin`."""
    table = {"content": {"application/json": {"schema": {"type": "object"}}}}
    whys = {
        "401": "no API key, or one that is unknown or has ended",
        "403": "the API key lacks the scope admin",
        "404": "unknown, or no source has the scope admin",
    }
    refused = {code: {"description": why, **problem} for code, why in whys.items()}

    def named(name: str, where: str) -> dict[str, Any]:
        return {"name": name, "in": where, "required": where == "path", "schema": {"type": "string"}}

    return {
        "/v1/users/{user}": {
            "delete": {
                "operationId": "eraseUser",
                "summary": "Erase a user, or every user of a person, and keep them out",
                "parameters": [named("user", "path"), named("brand", "query"), named("person", "query")],
                "responses": {
                    "202": {"description": "noted durably: carried out within seconds", **table},
                    "400": {"description": "the brand is not clear, or not one of yours", **problem},
                    **refused,
                },
            }
        },
        "/v1/erasures/{receipt}": {
            "get": {
                "operationId": "showErasure",
                "summary": "The receipt of an erasure, and how far it is",
                "parameters": [named("receipt", "path")],
                "responses": {"200": {"description": "known", **table}, **refused},
            }
        },
    }


HEALTH = (
    ("/healthz", "alive", "Whether the process lives", {"200": "alive"}),
    ("/readyz", "ready", "Whether events are taken, decided and sent", {"200": "ready", "503": "not ready"}),
    ("/v1/status", "status", "How far the service is", {"200": "how far"}),
)

_TEXT = {"type": "string"}

ANSWERS: dict[str, Any] = {
    "Taken": {
        "type": "object",
        "required": ["event_id", "status"],
        "properties": {
            "event_id": _TEXT,
            "status": {"const": "accepted"},
            "flags": {"type": "array", "items": _TEXT},
            "warnings": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["field", "rule"],
                    "properties": {"field": _TEXT, "rule": _TEXT},
                },
            },
        },
    },
    "Refused": {
        "type": "object",
        "required": ["field", "rule", "status"],
        "properties": {"field": _TEXT, "rule": _TEXT, "nearest": _TEXT, "status": {"const": "refused"}},
    },
    "Answers": {
        "type": "object",
        "required": ["accepted", "refused", "results"],
        "properties": {
            "accepted": {"type": "integer"},
            "refused": {"type": "integer"},
            "results": {
                "type": "array",
                "items": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/Taken"},
                        {"$ref": "#/components/schemas/Refused"},
                    ]
                },
            },
        },
    },
    "Shown": {
        "type": "object",
        "required": ["events"],
        "properties": {
            "events": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["event_id", "type", "verdict"],
                    "properties": {
                        "event_id": _TEXT,
                        "type": _TEXT,
                        "occurred_at": _TEXT,
                        "received_at": _TEXT,
                        "source": _TEXT,
                        "flags": {"type": "array", "items": _TEXT},
                        "verdict": {
                            "enum": ["pending", "taken", "duplicate", "conflict", "outdated", "failed"]
                        },
                    },
                },
            }
        },
    },
    "Problem": {
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "field": _TEXT,
            "nearest": _TEXT,
        },
    },
}


def _moved(node: Any) -> Any:
    """References as OpenAPI wants them: to components instead of $defs."""
    if isinstance(node, dict):
        return {
            key: value.replace("#/$defs/", "#/components/schemas/") if key == "$ref" else _moved(value)
            for key, value in node.items()
        }
    return [_moved(one) for one in node] if isinstance(node, list) else node
