"""What settings there are: a JSON Schema for editors, and the rows of the reference page."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from msgspec import NODEFAULT, Struct, convert, inspect, json

from lendsignal.model.secret import Secret
from lendsignal.settings.notation import DURATION, duration_text, key_path, toml_text
from lendsignal.settings.reading import REFERENCES
from lendsignal.settings.words import shape, within, words


def schema(kind: type[Struct]) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what `read` takes, for editors that complete and check TOML."""
    plain = json.schema(kind, schema_hook=lambda _: {"type": "string"})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **as_read(plain)}


def as_read(node: Any) -> Any:
    """msgspec's schema under the rules of `read`: durations, secrets, decimals, and no unknown keys."""
    match node:
        case list() | tuple():
            return [as_read(item) for item in node]
        case str() if re.fullmatch(r"P(?=[0-9T])([0-9]+D)?(T[0-9.]+S)?", node):
            return duration_text(convert(node, timedelta))  # a default: msgspec writes it as ISO 8601
        case {"title": "Secret", "type": "object", "properties": {"env": _, "file": _}}:
            texts = {
                name: {"type": "string", "pattern": f"^{rule}$"} for name, (rule, _) in REFERENCES.items()
            }
            return node | {"properties": texts, "minProperties": 1, "maxProperties": 1}
        case {"type": "string", "format": "duration"}:
            rest = {name: as_read(item) for name, item in node.items() if name != "format"}
            return rest | {"pattern": DURATION}
        case {"type": "string", "format": "decimal"}:
            return node | {"type": ["number", "string"]}
        case {"type": "object", "properties": dict()}:
            return {name: as_read(item) for name, item in node.items()} | {"additionalProperties": False}
        case dict():
            return {name: as_read(item) for name, item in node.items()}
        case _:
            return node


class Field(Struct, frozen=True, kw_only=True):
    """One key of the reference page.

    `allowed` is in words. `default` is TOML text; `None` where the key is required, or simply absent.
    """

    key: str
    allowed: str
    required: bool
    default: str | None = None
    description: str = ""


def describe(kind: type[Struct], path: str = "") -> list[Field]:
    """Every key of a Struct in its order, down through its tables: `route[].to`, `brand.<name>.timezone`.

    The members of a tagged union stand one after the other, each opened by its tag.
    """
    return list(fields_of(shape(kind), path, ()))


def fields_of(table: Any, path: str, above: tuple[type, ...]) -> Iterator[Field]:
    if table.tag_field:
        yield Field(key=key_path(path, table.tag_field), allowed=toml_text(table.tag), required=True)
    for field in table.fields:
        key = key_path(path, field.encode_name)
        made = field.default if field.default_factory is NODEFAULT else field.default_factory()
        yield Field(
            key=key,
            allowed=words(field.type),
            required=field.required,
            default=None if made is NODEFAULT or made is None else toml_text(made),
            description=description(field.type),
        )
        yield from below(field.type, key, (*above, table.cls))


def below(wanted: inspect.Type, key: str, above: tuple[type, ...]) -> Iterator[Field]:
    match wanted:
        case inspect.StructType(cls=cls):
            if cls is not Secret and cls not in above:
                yield from fields_of(wanted, key, above)
        case inspect.DictType(value_type=inner):
            yield from below(inner, f"{key}.<name>", above)
        case inspect.CollectionType(item_type=inner):
            yield from below(inner, f"{key}[]", above)
        case inspect.UnionType() | inspect.Metadata():
            for inner in within(wanted):
                yield from below(inner, key, above)
        case _:
            return


def description(wanted: inspect.Type) -> str:
    """The `msgspec.Meta(description=…)` of the type, also where it stands within a union."""
    match wanted:
        case inspect.Metadata(extra_json_schema={"description": str(text)}):
            return text
        case inspect.UnionType() | inspect.Metadata():
            return next(filter(None, map(description, within(wanted))), "")
        case _:
            return ""
