"""NDJSON: one JSON object a line, checked and not rebuilt: its bytes become the event's data as they are. No I/O.

msgspec checks what it skips (escapes, surrogates, numbers, nesting, what trails; NaN is refused) but for UTF-8, which
the parser has checked. Numbers keep their text, whatever their size. Of a member that comes twice the last one gives
the subject, and both pass. The tests hold a release of msgspec to all of that.
"""

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from services.system_api.sources.file.parsing.parser import Row
from services.system_api.sources.file.parsing.splitter import cut_lines
from shared.errors import Malformed

_Subject = str | int | None
_Time = Annotated[datetime, msgspec.Meta(tz=True)] | None

_Tree = dict[str, Any]
"""Member name to its type, or to the tree below it."""

_Find = Callable[[Any], Any]

_json_text = msgspec.json.Encoder().encode


class Ndjson:
    """Reads lines; one serves every file."""

    cut = staticmethod(cut_lines)

    def __init__(self, subject: str, time: str | None) -> None:
        """Each names a member, with dots where it lies below others: `customer.id`."""
        tree: _Tree = {}
        self._subject = subject
        self._find_subject = _add_path(tree, subject, _Subject)
        self._find_time = None if time is None else _add_path(tree, time, _Time)
        # A struct of the wanted members alone: msgspec skips the others three times faster than it builds them.
        self._decode = msgspec.json.Decoder(_struct(tree)).decode

    def normalize(self, piece: bytes) -> bytes:
        """Make spaces of carriage returns: they stand between values, and would end a line of server-sent events."""
        return piece.replace(b"\r", b" ")

    def read(self, piece: bytes) -> Row:
        """Read one line."""
        when = None
        try:
            found = self._decode(piece)
            subject = self._find_subject(found)
            if self._find_time is not None:
                when = _text(self._find_time, found)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise Malformed(str(exc)) from exc
        except AttributeError:  # a member on the way to the subject is missing or null
            subject = None
        if subject is None or subject == "":
            raise Malformed(f"the subject, {self._subject!r}, is missing, null or empty")
        return str(subject), piece, when


def _text(find: _Find, found: Any) -> bytes | None:
    try:
        when = find(found)
    except AttributeError:
        return None
    return None if when is None else _json_text(when)[1:-1]


def _add_path(tree: _Tree, path: str, kind: Any) -> _Find:
    """Add a path to the tree; return what finds its value in the struct that is made of the tree."""
    *above, last = path.split(".")
    attributes = []
    for name in above:
        below = tree.setdefault(name, {})
        assert isinstance(below, dict), "the options refuse a path that leads through another one's end"
        attributes.append(_attribute(tree, name))
        tree = below
    tree[last] = kind
    attributes.append(_attribute(tree, last))
    return attrgetter(".".join(attributes))


def _attribute(tree: _Tree, name: str) -> str:
    """Return what a member is called in its struct: any text may name a member, but no attribute."""
    return f"m{list(tree).index(name)}"


def _struct(tree: _Tree) -> type[msgspec.Struct]:
    kinds = {name: _struct(kind) | None if isinstance(kind, dict) else kind for name, kind in tree.items()}
    fields = [(_attribute(tree, name), kind, None) for name, kind in kinds.items()]
    return msgspec.defstruct("Members", fields, rename={_attribute(tree, name): name for name in tree})
