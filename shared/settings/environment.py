"""`${NAME}` and `${NAME:-default}` in the texts of a settings file."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from shared.settings.document import Document, Fault, KeyPath

# `$${` writes a literal `${`. Braces without a name in them, such as JSONata's `${"key": value}`, are no reference.
_REFERENCE = re.compile(r"\$\$\{|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-[^}]*)?\}")


class Expansion:
    """Inserts values from the environment into a document, and remembers where: errors never show such a value."""

    def __init__(self, document: Document, env: Mapping[str, str]) -> None:
        self._document = document
        self._env = env
        self.references: set[KeyPath] = set()
        """The texts that refer to the environment."""
        self.touched: set[KeyPath] = set()
        """Those that hold something from it, and not a default."""
        self.variables: dict[KeyPath, list[str]] = {}
        """The variables whose values those hold."""
        self.unset: set[KeyPath] = set()
        """The texts that should, and do not."""

    def expand(self, path: KeyPath, value: Any) -> Any:
        """Return `value` with its references replaced; a variable that is not set is a fault of the document."""
        if isinstance(value, dict):
            return {key: self.expand((*path, key), item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.expand((*path, index), item) for index, item in enumerate(value)]
        if isinstance(value, str) and "${" in value:
            return "".join(self._parts(path, value))
        return value

    def _parts(self, path: KeyPath, text: str) -> Iterator[str]:
        end = 0
        for found in _REFERENCE.finditer(text):
            yield text[end : found.start()]
            end = found.end()
            yield self._value(path, found)
        yield text[end:]

    def _value(self, path: KeyPath, found: re.Match[str]) -> str:
        name, fallback = found["name"], found["fallback"]
        if name is None:
            return "${"
        self.references.add(path)
        # As in a shell, the default after `:-` also replaces an empty value.
        value = self._env.get(name)
        if value or (value is not None and fallback is None):
            self.touched.add(path)
            self.variables.setdefault(path, []).append(name)
            return value
        if fallback is not None:
            return str(fallback[2:])
        sentence = f"the environment variable {name} is not set; '${{{name}:-…}}' would give it a default"
        self.unset.add(path)
        self._document.faults.append(Fault(path, self._document.place(path), sentence))
        return ""
