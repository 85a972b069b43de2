"""JSON Schemas of the message types, as components under their public names."""

from collections.abc import Iterable
from typing import Any

import msgspec

REF = "#/components/schemas/"


def schemas(types: Iterable[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A schema for each type, and the components that they refer to."""
    found, components = msgspec.json.schema_components(types, ref_template=REF + "{name}")
    return [_public(schema) for schema in found], {_name(name): _public(schema) for name, schema in components.items()}


def _public(value: Any) -> Any:
    """Private types lose their underscore; a description has its lines joined."""
    match value:
        case dict():
            return {key: _said(key, inner) for key, inner in value.items() if key != "default" or inner is not None}
        case list():
            return [_public(inner) for inner in value]
    return value


def _said(key: str, value: Any) -> Any:
    match key, value:
        case "$ref", str():
            return REF + _name(value.removeprefix(REF))
        case "title", str():
            return _name(value)
        case "description", str():
            return " ".join(value.split())
        case "mapping", dict():
            return {tag: REF + _name(str(ref).removeprefix(REF)) for tag, ref in value.items()}
    return _public(value)


def _name(name: str) -> str:
    return name.lstrip("_")
