"""Named lists of steps: their settings, and their steps in the place of each `use`. Sans-I/O."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import Field, JsonValue

from shared.settings import Form, KeyPath, Options

_PARAMETER = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


class ListOptions(Options):
    """A named list of steps."""

    parameters: dict[
        Annotated[str, Form(r"^[A-Za-z_][A-Za-z0-9_]*$", "a name of letters, digits and '_', such as region")],
        JsonValue,
    ] = Field(default_factory=dict)
    """The parameters by name, each with the value that it has where `with` gives none; null: it has to be given."""

    steps: Annotated[list[Any], Field(min_length=1)]
    """The steps, as in a pipeline. `{{name}}` in a text stands for a parameter. They are checked where they are
    used."""


class Fault(NamedTuple):
    """What is wrong with a `use`, and its place."""

    place: KeyPath
    text: str


def expanded(pipelines: Any, lists: Any) -> tuple[Any, list[Fault]]:
    """Return the settings of pipelines with the steps of each list where it is used, and the faults."""
    if not isinstance(pipelines, Mapping):
        return pipelines, []
    expansion = _Expansion(lists if isinstance(lists, Mapping) else {})
    found = {name: expansion.visit(written, ("pipelines", name), ()) for name, written in pipelines.items()}
    return found, expansion.faults


class _Expansion:
    def __init__(self, lists: Mapping[str, Any]) -> None:
        self._lists = lists
        self.faults: list[Fault] = []

    def visit(self, written: Any, place: KeyPath, within: tuple[str, ...]) -> Any:
        """Return a part of the settings; `within` names the lists that it is part of."""
        if isinstance(written, list):
            return [self.visit(item, (*place, number), within) for number, item in enumerate(written)]
        if not isinstance(written, Mapping):
            return written
        use = written.get("use")
        if len(written) == 1 and isinstance(use, Mapping) and isinstance(use.get("list"), str):
            return {"use": self._used(use, (*place, "use"), within)}
        return {key: self.visit(item, (*place, key), within) for key, item in written.items()}

    def _used(self, use: Mapping[str, Any], place: KeyPath, within: tuple[str, ...]) -> Mapping[str, Any]:
        name = use["list"]
        definition = self._lists.get(name)
        if not isinstance(definition, Mapping) or "steps" in use:
            if "steps" in use:
                self.faults.append(Fault((*place, "steps"), "found steps; expected those of the list alone"))
            return use
        if name in within:
            chain = " → ".join((*within, name))
            self.faults.append(Fault((*place, "list"), f"the list uses itself: {chain}"))
            return {**use, "steps": []}
        values = self._values(definition, use, place)
        steps = self.visit(_filled(definition.get("steps"), values), place, (*within, name))
        return {**use, "steps": steps if isinstance(steps, list) else []}

    def _values(self, definition: Mapping[str, Any], use: Mapping[str, Any], place: KeyPath) -> dict[str, Any]:
        parameters, given = definition.get("parameters") or {}, use.get("with") or {}
        if not isinstance(parameters, Mapping) or not isinstance(given, Mapping):
            return {}  # it is refused where it is written
        known = ", ".join(parameters) or "none"
        for name in given:
            if name not in parameters:
                self.faults.append(Fault((*place, "with", name), f"unknown parameter; the list has {known}"))
        values = {**parameters, **given}
        for name, value in values.items():
            if value is None:
                self.faults.append(Fault(place, f"the parameter {name!r} has no value; give one under `with`"))
        return values


def _filled(written: Any, values: Mapping[str, Any]) -> Any:
    """Return steps with the values in the place of the parameters; an unknown parameter stays as it is written."""
    if isinstance(written, list):
        return [_filled(item, values) for item in written]
    if isinstance(written, Mapping):
        return {
            _text(key, values) if isinstance(key, str) else key: _filled(item, values) for key, item in written.items()
        }
    if not isinstance(written, str):
        return written
    whole = _PARAMETER.fullmatch(written)
    return values[whole[1]] if whole is not None and whole[1] in values else _text(written, values)


def _text(written: str, values: Mapping[str, Any]) -> str:
    def value(found: re.Match[str]) -> str:
        if found[1] not in values:
            return found[0]
        given = values[found[1]]
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)

    return _PARAMETER.sub(value, written)
