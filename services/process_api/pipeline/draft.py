"""An event inside a pipeline: its attributes and its entity, each parsed only when a step uses it."""

from copy import copy
from typing import Self

from shared.errors import Malformed
from shared.events.event import (
    Attributes,
    Channel,
    MalformedEvent,
    check_data,
    check_nesting,
    decode,
    encode,
    json_string,
    text_of,
    validate,
)
from shared.events.strict_json import SMALLEST_NESTED
from shared.expression.nodes import Node, Raw, expanded, parsed, text

_DATA = b',"data":'
_BRACE = ord("{")
_EMPTY_CHANNEL = b'{"channel":"",'


class Draft:
    """One event in one pipeline.

    In an event that the system layer spliced, `data` is the last attribute and all others are scalars, so that the two
    can be split without parsing.
    """

    __slots__ = ("_attributes", "_data", "_data_text", "_foreign", "_head", "_value", "channel", "edited")

    def __init__(self, value: bytes, *, spliced: bool = False) -> None:
        """Start with the event as it came; `spliced` says that the system layer spliced it.

        Raises:
            MalformedEvent: the bytes are not a CloudEvent in UTF-8.
        """
        if not value.isascii():
            _check_utf8(value)
        self.channel: Channel | None = None
        """The channel that a step set. It precedes the pipeline's own and the event's own."""
        self.edited = ""
        """The name of the dead letter that held the event before an operator edited it; empty for one as it came."""
        self._value: bytes | None = value  # None once anything is changed
        self._foreign = not spliced  # not written by the system layer
        self._head: bytes | None = None  # the attributes as they came, without a channel; None once parsed as a whole
        self._attributes: Attributes | None = None
        self._data: Node | None = None
        self._data_text: bytes | None = None  # the text of `_data`, while it is known
        at = value.find(_DATA) if spliced else -1
        head = value[1:at]
        if at > 0 and b'"channel"' not in head:
            self._head, self._data_text = head, value[at + len(_DATA) : -1]
        else:
            self._attributes = decode(value)
            self._data = self._attributes.pop("data", None)

    @property
    def changed(self) -> bool:
        """Whether it differs from the event as it came, apart from the channel."""
        return self._value is None

    def attributes(self) -> Attributes:
        """Return all attributes but the entity; read only.

        Raises:
            MalformedEvent: one is missing or malformed: the event was not spliced.
        """
        if self._attributes is None:
            assert self._head is not None, "one of them is set"
            self._attributes = decode(b"{%b}" % self._head)
        return self._attributes

    def attribute(self, name: str) -> str | None:
        """Return a string attribute, None where it is absent.

        Raises:
            MalformedEvent: it is not a string.
        """
        return text_of(self.attributes(), name)

    def set_attribute(self, name: str, value: Raw) -> None:
        """Set an attribute that is not the entity."""
        self.attributes()[name] = value
        self._head = self._value = None

    def pop_attribute(self, name: str) -> Raw | None:
        """Remove an attribute that is not the entity; return it, None where it is absent."""
        found = self.attributes().pop(name, None)
        if found is not None:
            self._head = self._value = None
        return found

    def data(self) -> Node | None:
        """Return the entity, expanded by one level; None where the event has none, or one that is not JSON.

        Call `mark_data_changed` after changing it in place.
        """
        data = self._data
        if type(data) is dict:  # nearly always, and often
            return data
        if data is None and self._data_text is not None:
            data = self._data = parsed(self._data_text)
        elif type(data) is Raw:
            data = self._data = expanded(data)
        return data

    def data_text(self) -> bytes | None:
        """Return the entity's JSON text; None as for `data`."""
        if self._data_text is None and self._data is not None:
            self._data_text = text(self._data)
        return self._data_text

    def mark_data_changed(self) -> None:
        """Note that the entity was changed in place."""
        self._value = self._data_text = None

    def replace_data(self, node: Node | None) -> None:
        """Replace the entity; None removes it."""
        self._data = node
        self.mark_data_changed()
        # While the attributes are not parsed, there is no data_base64 among them.
        if node is not None and self._attributes is not None and self.pop_attribute("data_base64") is not None:
            self.set_attribute("datacontenttype", Raw(b'"application/json"'))

    def replace_data_text(self, written: bytes) -> None:
        """Replace the entity by JSON text."""
        self.replace_data(Raw(written))
        self._data_text = written

    def copies_with(self, entities: list[Node]) -> list[Self]:
        """Return a copy of this event for each entity, with the ids `<id>/1`, `<id>/2` and so on."""
        identity = self.attribute("id")
        return [self._copy(f"{identity}/{number}", entity) for number, entity in enumerate(entities, 1)]

    def numbered_copies(self, count: int) -> list[Self]:
        """Return copies of this event, with the ids `<id>/1`, `<id>/2` and so on."""
        identity = self.attribute("id")
        copies = [self.clone() for _ in range(count)]
        for number, copy_ in enumerate(copies, 1):
            copy_.set_attribute("id", Raw(json_string(f"{identity}/{number}")))
        return copies

    def clone(self) -> Self:
        """Return a copy that changes without this event."""
        other = copy(self)
        written = self.data_text()
        other._data = None if written is None else Raw(written)  # noqa: SLF001 -- of the same class
        if self._attributes is not None:
            other._attributes = {**self._attributes}  # noqa: SLF001 -- of the same class
        return other

    def check(self) -> None:
        """Check that readers accept the event, by the rules of `shared.events`.

        The system layer checked the events that it spliced, and a step checks each value that it makes other than by
        JSONata, whose values obey the rule. So of a changed event only the nesting is left, which adds up.

        Raises:
            Malformed: names the attribute, or the value in the data and its place.
        """
        if not self._foreign and self._value is not None:
            return
        data = self.data_text()
        if self._foreign:
            validate(self.attributes())
            if data is not None:
                check_data(data)
        elif data is not None and len(data) >= SMALLEST_NESTED:
            check_nesting(data)

    def check_json(self) -> None:
        """Check that its content is JSON, or that it has none.

        Raises:
            Malformed: it has `data_base64`.
        """
        if "data_base64" in self.attributes():
            raise Malformed("the event's data is not JSON (data_base64)")

    def encoded(self, channel: bytes) -> bytes:
        """Return the event's bytes with this channel, a JSON string."""
        if self._value is not None and (self._head is not None or "channel" not in self.attributes()):
            return b'{"channel":%b,%b' % (channel, self._value[self._value.index(b"{") + 1 :])
        data = self._data_text or self.data_text()
        head = self._head
        if head is None:
            head = encode({name: raw for name, raw in self.attributes().items() if name != "channel"})[1:-1]
        if data is None:
            return b'{"channel":%b,%b}' % (channel, head)
        return b'{"channel":%b,%b,"data":%b}' % (channel, head, data)

    def without_channel(self) -> bytes:
        """Return the event's bytes without a channel."""
        return b"{" + self.encoded(b'""')[len(_EMPTY_CHANNEL) :]

    def _copy(self, identity: str, entity: Node) -> Self:
        other = copy(self)
        other._attributes = {**self.attributes()}  # noqa: SLF001 -- of the same class
        other.set_attribute("id", Raw(json_string(identity)))
        other.replace_data(entity)
        return other


def traceparent_of(draft: Draft) -> str | None:
    """Return the trace that an event belongs to, None where it names none."""
    try:
        return draft.attribute("traceparent")
    except MalformedEvent:
        return None


def relabelled(value: bytes, channel: bytes) -> bytes | None:
    """Return a spliced event with this channel, a JSON string: what a draft of it encodes to, in half of the time.

    None if it takes a draft: the event has a channel, or the system layer did not splice it.

    Raises:
        MalformedEvent: it is not in UTF-8.
    """
    at = value.find(_DATA)
    if at < 1 or value[0] != _BRACE or value.find(b'"channel"', 1, at) >= 0:
        return None
    if not value.isascii():
        _check_utf8(value)
    return b'{"channel":%b,%b' % (channel, value[1:])


def _check_utf8(value: bytes) -> None:
    """Check that an event is UTF-8: a frame that is not would close the connection of each subscriber it is sent to.

    Raises:
        MalformedEvent: names the byte.
    """
    try:
        str(value, "utf-8")
    except UnicodeDecodeError as exc:
        raise MalformedEvent(f"not UTF-8: {exc.reason} at byte {exc.start}") from exc
