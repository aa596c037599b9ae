"""The JSON Schema of a settings model: for editors, and to know which keys a place may have."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from shared.settings.descriptions import WithDescriptions
from shared.settings.document import KeyPath

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_FROM_ENVIRONMENT = {"type": "string", "pattern": r"(^|[^$])\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}"}
_NOT_TEXT = {"integer", "number", "boolean"}
_BOUNDED = {"const", "enum", "pattern", "minLength", "maxLength"}
_ABOUT = ("description", "default", "title")
_NOT_STANDARD = {"discriminator", "format"}
"""Keywords of Pydantic that strict validators refuse: one of OpenAPI, and formats that no standard defines."""


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a file for `model`, by JSON Schema 2020-12 with the patterns of ECMA-262.

    `load` refuses everything that the schema refuses. `load` alone checks rules about several keys, and rules that no
    pattern expresses. A value that is not free text may also be `${NAME}`, and a section may be empty.
    """
    schema = model.model_json_schema(mode="validation", schema_generator=WithDescriptions)
    for kind in _kinds(schema):
        alternative = schema["$defs"][kind.rpartition("/")[2]]
        alternative["required"] = sorted({"kind", *alternative.get("required", ())})
    allowed: dict[str, Any] = _with_references(schema)
    sections = {name: _or_empty(section) for name, section in allowed["properties"].items()}
    return {"$schema": _DIALECT, **allowed, "type": ["object", "null"], "properties": sections, "title": "Trelay"}


def _kinds(node: Any) -> Iterator[str]:
    """Yield the references to models that their `kind` distinguishes; even the default kind must be written."""
    if isinstance(node, dict):
        yield from node.get("discriminator", {}).get("mapping", {}).values()
    for item in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _kinds(item)


def _or_empty(section: dict[str, Any]) -> dict[str, Any]:
    about = {key: section[key] for key in _ABOUT if key in section}
    return {**about, "anyOf": [{key: item for key, item in section.items() if key not in about}, {"type": "null"}]}


def _with_references(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    node = {key: item for key, item in node.items() if key not in _NOT_STANDARD}
    if node.get("type") in _NOT_TEXT or (node.get("type") == "string" and _BOUNDED & node.keys()):
        about = {key: node[key] for key in _ABOUT if key in node}
        value = {key: item for key, item in node.items() if key not in about}
        return {**about, "anyOf": [value, _FROM_ENVIRONMENT]}
    if "patternProperties" in node:
        node.setdefault("additionalProperties", False)
    if "oneOf" in node:  # a reference to the environment fits several of the alternatives
        node["anyOf"] = node.pop("oneOf")
    return {key: _inside_with_references(key, item) for key, item in node.items()}


def _inside_with_references(keyword: str, item: Any) -> Any:
    """Convert the schemas below a keyword: a mapping of them, a list, or one. All other values are data."""
    if keyword in {"properties", "patternProperties", "$defs"}:
        return {name: _with_references(schema) for name, schema in item.items()}
    if keyword in {"anyOf", "oneOf", "allOf", "prefixItems"}:
        return [_with_references(schema) for schema in item]
    if keyword in {"items", "additionalProperties"}:
        return _with_references(item)
    return item


@functools.lru_cache(maxsize=8)
def _of(model: type[BaseModel], *, described: bool) -> Mapping[str, Any]:
    """Return the schema of a model, made once: it takes 0.1 s for all settings, and 1 s with their descriptions."""
    generator = WithDescriptions if described else GenerateJsonSchema
    return model.model_json_schema(mode="validation", schema_generator=generator)


class Keys:
    """Looks up what a model knows about a path: its keys, types, description, and whether it is a secret."""

    def __init__(self, model: type[BaseModel], *, described: bool = False) -> None:
        self._model = model
        self._schema = _of(model, described=described)

    def at(self, path: KeyPath, value: Any) -> list[str]:
        """Return the known keys at `path` of a file that holds `value`; none if any key is permitted."""
        return sorted({key for node in self.nodes(path, value) for key in node.get("properties", ())})

    def about(self, path: KeyPath, value: Any) -> tuple[str, Any]:
        """Return the description and the default of the setting at `path`; an empty text and None without them."""
        nodes = Keys(self._model, described=True).nodes(path, value)
        description = next((str(node["description"]) for node in nodes if "description" in node), "")
        return description, next((node["default"] for node in nodes if "default" in node), None)

    def secret(self, path: KeyPath, value: Any) -> bool:
        """Return whether the value at `path`, or one around it, must not be shown."""
        return any(
            node.get("writeOnly") or node.get("format") == "password"
            for length in range(len(path) + 1)
            for node in self.nodes(path[:length], value)
        )

    def scalars(self, value: Any) -> Iterator[tuple[KeyPath, Any, set[str]]]:
        """Yield each scalar but null in a file that holds `value`: its path, itself, and which JSON types it may have.

        No types if any is permitted or nothing is known.
        """
        yield from self._scalars((), value, list(self._choices(self._schema, value)))

    def nodes(self, path: KeyPath, value: Any) -> list[Mapping[str, Any]]:
        """Return the schemas that apply at `path` of a file that holds `value`."""
        nodes = list(self._choices(self._schema, value))
        for part in path:
            value = _inside(value, part)
            nodes = self._below(nodes, part, value)
        return nodes

    def _scalars(
        self, path: KeyPath, value: Any, nodes: list[Mapping[str, Any]]
    ) -> Iterator[tuple[KeyPath, Any, set[str]]]:
        if isinstance(value, dict | list):
            for part, item in value.items() if isinstance(value, dict) else enumerate(value):
                yield from self._scalars((*path, part), item, self._below(nodes, part, item))
        elif value is not None:
            yield path, value, _types(nodes)

    def _below(self, nodes: Iterable[Mapping[str, Any]], part: str | int, value: Any) -> list[Mapping[str, Any]]:
        """Return the schemas that apply to `value`, which is at a key or an index below these."""
        return [found for node in nodes for child in _children(node, part) for found in self._choices(child, value)]

    def _choices(self, node: Mapping[str, Any], value: Any) -> Iterator[Mapping[str, Any]]:
        """Follow references. Of alternatives that a key distinguishes, follow the one that the value names."""
        if "$ref" in node:
            yield from self._choices(self._schema["$defs"][node["$ref"].rpartition("/")[2]], value)
            return
        yield node
        discriminator = node.get("discriminator")
        if discriminator is not None:
            name = _inside(value, discriminator["propertyName"])
            if isinstance(name, str) and name in discriminator["mapping"]:
                yield from self._choices({"$ref": discriminator["mapping"][name]}, value)
                return
        for choice in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
            yield from self._choices(choice, value)


def _types(nodes: Iterable[Mapping[str, Any]]) -> set[str]:
    found = [node for node in nodes if not node.keys() & {"$ref", "anyOf", "oneOf", "allOf"}]
    return {node["type"] for node in found} if all("type" in node for node in found) else set()


def _children(node: Mapping[str, Any], part: str | int) -> Iterator[Mapping[str, Any]]:
    if isinstance(part, int):
        found = [node.get("items")]
    else:
        # Pydantic writes one pattern for a mapping whose keys must have a form.
        patterns = node.get("patternProperties", {}).values()
        found = [node.get("properties", {}).get(part), node.get("additionalProperties"), *patterns]
    yield from (child for child in found if isinstance(child, dict))


def _inside(value: Any, part: str | int) -> Any:
    """Return the item of `value` at a key or an index, None if there is none."""
    if isinstance(value, dict):
        found = value.get(part)
    elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
        found = value[part]
    else:
        found = None
    return found
