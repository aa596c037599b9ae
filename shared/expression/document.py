"""What expressions are evaluated on: the entity of an event with its attributes, or one JSON value alone."""

from collections.abc import Mapping
from typing import Protocol

from shared.expression.nodes import Node, Raw, expanded


class Document(Protocol):
    """The input of an expression: its root, and the value of `$event`."""

    def data(self) -> Node | None:
        """Return the root, expanded by one level; None where it is undefined."""
        ...

    def data_text(self) -> bytes | None:
        """Return the JSON text of the root; None where it is undefined."""
        ...

    def attributes(self) -> Mapping[str, Raw]:
        """Return the members of `$event`.

        Raises:
            Malformed: they cannot be read.
        """
        ...


class JsonDocument:
    """One JSON value, with no attributes."""

    __slots__ = ("_node", "_text")

    def __init__(self, text: bytes) -> None:
        """`text` is valid JSON in UTF-8."""
        self._text = text
        self._node: Node = Raw(text)

    def data(self) -> Node:
        """Return the value, expanded by one level; read only."""
        self._node = expanded(self._node)
        return self._node

    def data_text(self) -> bytes:
        """Return the value's JSON text."""
        return self._text

    def attributes(self) -> Mapping[str, Raw]:
        """Return no attributes."""
        return _NONE


_NONE: Mapping[str, Raw] = {}
