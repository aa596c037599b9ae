"""What expressions are evaluated on: the entity of an event with its attributes, or one JSON value alone."""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from shared.expression.nodes import Node, Raw, expanded, text


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


class EventDocument:
    """One event as JSON text: its root is `data`, and `$event` the other attributes."""

    __slots__ = ("_attributes", "_data")

    def __init__(self, event: bytes, *, without: str) -> None:
        """`event` is valid JSON in UTF-8; `without` is an attribute that is not of the event."""
        self._attributes: dict[str, Raw] = _attributes(event)
        self._attributes.pop(without, None)
        self._data: Node | None = self._attributes.pop("data", None)

    def data(self) -> Node | None:
        """Return the root, expanded by one level; None where it is undefined."""
        if self._data is not None:
            self._data = expanded(self._data)
        return self._data

    def data_text(self) -> bytes | None:
        """Return the JSON text of the root; None where it is undefined."""
        return None if self._data is None else text(self._data)

    def attributes(self) -> Mapping[str, Raw]:
        """Return the attributes besides `data`."""
        return self._attributes


_attributes = msgspec.json.Decoder(dict[str, Raw]).decode
_NONE: Mapping[str, Raw] = {}
