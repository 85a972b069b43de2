"""OpenAPI 3.1 (spec.openapis.org/oas/v3.1.0) of all that is answered over HTTP."""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from gateway.describe.operation import EVENTS, JSON, Content, Operation, Parameter, Paths
from gateway.describe.schemas import schemas


def openapi(*paths: Paths) -> dict[str, Any]:
    """The document."""
    merged = {path: methods for some in paths for path, methods in some.items()}
    types = list(_types(merged))
    found, components = schemas(types)
    described = {id(type): schema for type, schema in zip(types, found, strict=True)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "llm-chat", "version": version("llm-chat"), "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": {path: _path_item(path, methods, described) for path, methods in merged.items()},
        "components": {"schemas": components},
    }


def _contents(answers: Content | Sequence[Content]) -> Sequence[Content]:
    return [answers] if isinstance(answers, Content) else answers


def _types(paths: Paths) -> Iterator[Any]:
    for methods in paths.values():
        for operation in methods.values():
            if isinstance(operation, Operation):
                bodies = [operation.body] if operation.body is not None else []
                answered = [one for some in operation.answers.values() for one in _contents(some)]
                yield from (*bodies, *(content.type for content in answered if content.type is not None))


def _path_item(path: str, methods: Mapping[str, Any], described: Mapping[int, Any]) -> dict[str, Any]:
    item: dict[str, Any] = {}
    for method, operation in methods.items():
        is_ours = isinstance(operation, Operation)
        item[method.lower()] = _operation(path, method, operation, described) if is_ours else operation
    return item


def _operation(path: str, method: str, operation: Operation, described: Mapping[int, Any]) -> dict[str, Any]:
    answers = {str(status): _response(_contents(some), described) for status, some in operation.answers.items()}
    words = re.sub(r"\W+", "_", path).strip("_")
    found: dict[str, Any] = {"operationId": f"{method.lower()}_{words}", "summary": operation.summary}
    if operation.parameters:
        found["parameters"] = [_parameter(one) for one in operation.parameters]
    if operation.body is not None:
        content = {JSON: {"schema": described[id(operation.body)]}}
        found["requestBody"] = {"required": not operation.optional, "content": content}
    return found | {"responses": answers}


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.where,
        "description": one.description,
        "required": one.where == "path",
        "schema": dict(one.schema),
    }


def _response(contents: Sequence[Content], described: Mapping[int, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": " Or: ".join(content.description for content in contents)}
    headers = {name: _header(says) for content in contents for name, says in content.headers.items()}
    if headers:
        response["headers"] = headers
    bodies = {one.media: {"schema": _schema(one, described)} for one in contents if one.type or one.media != JSON}
    if bodies:
        response["content"] = bodies
    return response


def _header(says: str) -> dict[str, Any]:
    return {"description": says, "schema": {"type": "string"}}


def _schema(content: Content, described: Mapping[int, Any]) -> Any:
    if content.media == EVENTS:
        return {}  # of a stream a schema would describe each event, as some read it
    return {"type": "string"} if content.type is None else described[id(content.type)]
