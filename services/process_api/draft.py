"""An event while a pipeline works on it: taken apart only as far as somebody looks.

What nobody looks into stays the JSON text that it came as, so that numbers, unknown attributes and nested values pass
as they were. What is taken apart is a dict or a list whose values are again either.
"""

from copy import copy
from typing import Self, TypeAlias, cast

import msgspec

from shared.event import Channel, MalformedEvent, decode, json_string, text_of

Raw = msgspec.Raw

Node: TypeAlias = Raw | dict[str, "Node"] | list["Node"]
"""A JSON value: its text, or an object or an array that was taken apart."""

Members: TypeAlias = dict[str, Node]

_OBJECT, _ARRAY = b"{["

# As the system layer begins an event; see `shared.event.Envelope`.
_PLAIN_HEAD = b'{"specversion":"1.0",'

_members = msgspec.json.Decoder(dict[str, Raw]).decode
_items = msgspec.json.Decoder(list[Raw]).decode
_encode = msgspec.json.Encoder().encode


def text(node: Node) -> bytes:
    """Return a value's JSON text."""
    return bytes(node) if type(node) is Raw else _encode(node)


def opened(node: Node) -> Node:
    """Take an object or an array apart by one level; anything else is given back as it is."""
    if type(node) is Raw:
        first = memoryview(node)[0]
        if first == _OBJECT:
            return cast("Members", _members(node))
        if first == _ARRAY:
            return cast("list[Node]", _items(node))
    return node


def child(parent: Members, name: str) -> Node | None:
    """Return a member, taken apart by one level; None where there is none."""
    node = parent.get(name)
    if type(node) is Raw:
        node = parent[name] = opened(node)
    return node


def check_text(value: bytes) -> None:
    """Check that an event is UTF-8: a frame that is not would close the connection of everybody who is sent it.

    Raises:
        MalformedEvent: names the byte.
    """
    if not value.isascii():
        try:
            str(value, "utf-8")
        except UnicodeDecodeError as exc:
            raise MalformedEvent(f"not UTF-8: {exc.reason} at byte {exc.start}") from exc


def without_channel(value: bytes) -> bool:
    """Whether an event has surely no channel, as far as can be told without taking it apart.

    An attribute's name may be written with escapes, and the word may stand in the data: both count as unsure.
    """
    return b"\\" not in value and value.startswith(_PLAIN_HEAD) and b'"channel"' not in value


def with_channel(value: bytes, channel: bytes) -> bytes:
    """Splice a channel, a JSON string, into an event that has none."""
    return b'{"channel":%b,%b' % (channel, value[value.index(b"{") + 1 :])


class Draft:
    """One event on its way through one pipeline."""

    __slots__ = ("_value", "attributes", "changed", "channel")

    def __init__(self, value: bytes) -> None:
        """Begin with the event as it came.

        Raises:
            MalformedEvent: the bytes are no CloudEvent in UTF-8.
        """
        check_text(value)
        self._value = value
        self.attributes = cast("Members", decode(value))
        self.changed = False
        """Whether it is not any more what it came as; whoever changes `attributes` or what lies below says so here."""
        self.channel: Channel | None = None
        """What a step decided on; the pipeline's own and the event's own come after it."""

    @property
    def data(self) -> Node | None:
        """The entity, taken apart by one level; None where the event has none, or one that is not JSON."""
        return child(self.attributes, "data")

    def data_text(self) -> bytes | None:
        """The entity's JSON text; None as for `data`."""
        node = self.attributes.get("data")
        return None if node is None else text(node)

    def replace_data(self, node: Node) -> None:
        """Put another entity in place of this one."""
        self.attributes["data"] = node
        if self.attributes.pop("data_base64", None) is not None:
            self.attributes["datacontenttype"] = Raw(b'"application/json"')
        self.changed = True

    def attribute(self, name: str) -> str | None:
        """Return a context attribute that is text, None where it is absent.

        Raises:
            MalformedEvent: it is there and no string.
        """
        node = self.attributes.get(name)
        return None if node is None else text_of({name: Raw(text(node))}, name)

    def several(self, entities: list[Node]) -> list[Self]:
        """Return one event for each of these entities, told apart by their ids: `<id>/1`, `<id>/2` and so on."""
        identity = self.attribute("id")
        return [self._with(f"{identity}/{number}", entity) for number, entity in enumerate(entities, 1)]

    def encoded(self, channel: bytes) -> bytes:
        """Return the event's bytes, on this channel, a JSON string."""
        if self.changed or "channel" in self.attributes:
            self.attributes["channel"] = Raw(channel)
            return _encode(self.attributes)
        return with_channel(self._value, channel)

    def _with(self, identity: str, entity: Node) -> Self:
        other = copy(self)
        other.attributes = {**self.attributes, "id": Raw(json_string(identity))}
        other.replace_data(entity)
        return other
