"""The file's JSON Schema, for editors and for whoever makes the file with a program."""

from typing import Any

from msgspec import Struct

from lendsignal.config.settings import Settings
from lendsignal.deliver import DestinationSettings
from lendsignal.deliver.audiences import AccountSettings
from lendsignal.destination import registry
from lendsignal.destination.audiences import audience_platforms
from lendsignal.destination.spec import Destination
from lendsignal.settings import Template, schema
from lendsignal.source import PullSettings, feed_kinds


def config_schema() -> dict[str, Any]:
    """The JSON Schema of the file, each platform's own keys included."""
    whole = schema(Settings)
    kinds = [one for kind, module in registry().items() for one in _merged_schemas(kind, module)]
    definitions = whole.setdefault("$defs", {})
    body = definitions.get("Settings", whole)
    body["properties"]["destination"] = {"type": "object", "additionalProperties": {"oneOf": kinds}}
    to = definitions["RouteSettings"]["properties"]["to"]
    definitions["RouteSettings"]["properties"]["to"] = {
        "description": to.pop("description", ""),
        "oneOf": [to, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    }
    pulls = [_both_schemas(kind, PullSettings, one.Settings) for kind, one in feed_kinds().items()]
    body["properties"]["pull"] = {"type": "object", "additionalProperties": {"oneOf": pulls}}
    accounts = [
        _both_schemas(kind, AccountSettings, one.Settings) for kind, one in audience_platforms().items()
    ]
    body["properties"]["audience_account"] = {"type": "object", "additionalProperties": {"oneOf": accounts}}
    for kind in (*kinds, *pulls, *accounts):
        definitions.update(kind.pop("$defs", {}))
    return whole


def _merged_schemas(kind: str, module: Destination) -> tuple[dict[str, Any], dict[str, Any]]:
    """A destination of one app, and one of several: of that every key may stand in `per_app`."""
    one = _both_schemas(kind, DestinationSettings, module.Settings)
    apps = schema(Template)["$defs"]["Template"]["properties"]
    keys = {name: key for name, key in one["properties"].items() if name != "app"}
    required = ["apps", "kind"]
    return one, {**one, "title": f"{kind}, apps", "properties": {**keys, **apps}, "required": required}


def _both_schemas(kind: str, ours: type[Struct], theirs: type[Struct]) -> dict[str, Any]:
    """A table with our keys and those of its kind."""
    common, own = schema(ours), schema(theirs)
    definitions = {**common.get("$defs", {}), **own.get("$defs", {})}
    common_body = definitions.pop(ours.__name__)
    own_body = definitions.pop(theirs.__name__)
    properties = {**common_body["properties"], **own_body["properties"], "kind": {"const": kind}}
    required = sorted({*common_body.get("required", []), *own_body.get("required", [])})
    return {
        "title": kind,
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
        "$defs": definitions,
    }
