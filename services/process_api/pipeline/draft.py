"""An event while a pipeline works on it: its attributes and its entity, each taken apart only when somebody looks."""

from copy import copy
from typing import Self

from services.process_api.pipeline.nodes import Node, Raw, opened, text
from shared.events.event import Attributes, Channel, MalformedEvent, decode, encode, json_string, text_of

_DATA = b',"data":'


class Draft:
    """One event on its way through one pipeline.

    Of an event that the system layer made it is known that `data` is its last attribute and that the others are
    scalars, so that where nobody asks for them they are not even looked at.
    """

    __slots__ = ("_attributes", "_data", "_data_text", "_head", "_value", "channel")

    def __init__(self, value: bytes, *, spliced: bool = False) -> None:
        """Begin with the event as it came; `spliced` says that `data` is its last attribute.

        Raises:
            MalformedEvent: the bytes are no CloudEvent in UTF-8.
        """
        _check_text(value)
        self.channel: Channel | None = None
        """What a step decided on; the pipeline's own and the event's own come after it."""
        self._value: bytes | None = value  # until something is changed
        self._head: bytes | None = None  # the attributes as they came, if that is all of them and no channel among them
        self._attributes: Attributes | None = None
        self._data: Node | None = None
        self._data_text: bytes | None = None  # what `_data` is in text, while that is known
        at = value.find(_DATA) if spliced else -1
        head = value[1:at]
        if at > 0 and b'"channel"' not in head:
            self._head, self._data_text = head, value[at + len(_DATA) : -1]
        else:
            self._attributes = decode(value)
            self._data = self._attributes.pop("data", None)

    @property
    def changed(self) -> bool:
        """Whether it is not any more what it came as, the channel apart."""
        return self._value is None

    def attributes(self) -> Attributes:
        """Return the attributes, all but the entity; to be read only.

        Raises:
            MalformedEvent: one is missing or malformed, so the event was not spliced.
        """
        if self._attributes is None:
            assert self._head is not None, "either is known"
            self._attributes = decode(b"{%b}" % self._head)
        return self._attributes

    def attribute(self, name: str) -> str | None:
        """Return an attribute that is text, None where it is absent.

        Raises:
            MalformedEvent: it is there and no string.
        """
        return text_of(self.attributes(), name)

    def set_attribute(self, name: str, value: Raw) -> None:
        """Set an attribute that is not the entity."""
        self.attributes()[name] = value
        self._head = self._value = None

    def take_attribute(self, name: str) -> Raw | None:
        """Remove an attribute that is not the entity and return it; None where there is none."""
        found = self.attributes().pop(name, None)
        if found is not None:
            self._head = self._value = None
        return found

    def data(self) -> Node | None:
        """Return the entity, taken apart by one level; None where the event has none, or one that is not JSON.

        Whoever changes it in its place says so to `touch_data`.
        """
        if self._data is None and self._data_text is not None:
            self._data = Raw(self._data_text)
        if type(self._data) is Raw:
            self._data = opened(self._data)
        return self._data

    def data_text(self) -> bytes | None:
        """Return the entity's JSON text; None as for `data`."""
        if self._data_text is None and self._data is not None:
            self._data_text = text(self._data)
        return self._data_text

    def touch_data(self) -> None:
        """Note that the entity was changed in its place."""
        self._value = self._data_text = None

    def replace_data(self, node: Node | None) -> None:
        """Put another entity in place of this one; None leaves the event without."""
        self._data = node
        self.touch_data()
        # Where nobody has asked for the attributes yet, there are no bytes among them.
        if node is not None and self._attributes is not None and self.take_attribute("data_base64") is not None:
            self.set_attribute("datacontenttype", Raw(b'"application/json"'))

    def replace_text(self, written: bytes) -> None:
        """Put another entity in place of this one, given as JSON text."""
        self.replace_data(Raw(written))
        self._data_text = written

    def several(self, entities: list[Node]) -> list[Self]:
        """Return one event for each of these entities, told apart by their ids: `<id>/1`, `<id>/2` and so on."""
        identity = self.attribute("id")
        return [self._with(f"{identity}/{number}", entity) for number, entity in enumerate(entities, 1)]

    def encoded(self, channel: bytes) -> bytes:
        """Return the event's bytes, on this channel, a JSON string."""
        if self._value is not None and (self._head is not None or "channel" not in self.attributes()):
            return b'{"channel":%b,%b' % (channel, self._value[self._value.index(b"{") + 1 :])
        data = self.data_text()
        head = self._head
        if head is None:
            head = encode({name: raw for name, raw in self.attributes().items() if name != "channel"})[1:-1]
        if data is None:
            return b'{"channel":%b,%b}' % (channel, head)
        return b'{"channel":%b,%b,"data":%b}' % (channel, head, data)

    def _with(self, identity: str, entity: Node) -> Self:
        other = copy(self)
        other._attributes = {**self.attributes()}  # noqa: SLF001 -- of the same class
        other.set_attribute("id", Raw(json_string(identity)))
        other.replace_data(entity)
        return other


def _check_text(value: bytes) -> None:
    """Check that an event is UTF-8: a frame that is not would close the connection of everybody who is sent it.

    Raises:
        MalformedEvent: names the byte.
    """
    if not value.isascii():
        try:
            str(value, "utf-8")
        except UnicodeDecodeError as exc:
            raise MalformedEvent(f"not UTF-8: {exc.reason} at byte {exc.start}") from exc
