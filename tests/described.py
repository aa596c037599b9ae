"""Checks that answers of a service agree with its OpenAPI document."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema


class Described:
    """An OpenAPI document."""

    def __init__(self, files: Mapping[Path, str]) -> None:
        """`files` has one document."""
        ((self.path, self.text),) = files.items()
        self.document: Any = json.loads(self.text)

    @property
    def routes(self) -> set[tuple[str, str]]:
        """Method and path of each operation."""
        return routes_of(self.document)

    def check(self, method: str, path: str, status: int, body: Any) -> None:
        """Check that the document has the status of an answer to a path, and a schema that its body fits."""
        template = self._template(method, path.partition("?")[0])
        if template is None:
            assert status in {404, 405}, f"{method} {path} is not described"
            return
        operation = self.document["paths"][template][method.lower()]
        assert str(status) in operation["responses"], f"{method} {path}: {status} is not described"
        (content,) = operation["responses"][str(status)]["content"].values()
        jsonschema.validate(body, {**content["schema"], "components": self.document["components"]})

    def _template(self, method: str, path: str) -> str | None:
        """Return the path of the document that a path belongs to; one without parameters comes first."""
        words = path.split("/")
        found = [template for known, template in self.routes if known == method and _fits(template.split("/"), words)]
        return min(found, key=lambda template: template.count("{"), default=None)


def routes_of(document: Any) -> set[tuple[str, str]]:
    """Return method and path of each operation of a document."""
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def _fits(template: list[str], words: list[str]) -> bool:
    return len(template) == len(words) and all(
        one.startswith("{") or one == other for one, other in zip(template, words, strict=True)
    )
