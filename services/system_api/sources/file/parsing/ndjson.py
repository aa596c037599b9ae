"""NDJSON: one JSON object a line. A line is validated, and its bytes become the event's data unchanged. No I/O.

msgspec also validates what it skips (escapes, surrogates, numbers, nesting, trailing text; NaN is an error), except for
UTF-8, which the parser has checked, and except for numbers out of range and deep nesting, which `strict_json` checks.
Numbers keep their text. If a member occurs twice, the last one is the subject, and both stay in the data. The tests
check each release of msgspec for all of this.
"""

from collections.abc import Callable
from datetime import datetime
from operator import attrgetter
from typing import Annotated, Any

import msgspec

from services.system_api.sources.file.parsing.parser import Row
from services.system_api.sources.file.parsing.splitter import cut_lines
from shared.errors import Malformed
from shared.events import strict_json

_Subject = str | int | None
_Time = Annotated[datetime, msgspec.Meta(tz=True)] | None

_Tree = dict[str, Any]
"""Member name to its type, or to the tree below it."""

_Find = Callable[[Any], Any]

_json_text = msgspec.json.Encoder().encode


class Ndjson:
    """Reads lines; without state, so that one instance reads all files."""

    cut = staticmethod(cut_lines)
    skip_lines = 0

    def __init__(self, subject: str, time: str | None) -> None:
        """`subject` and `time` name members; dots lead to nested ones: `customer.id`."""
        tree: _Tree = {}
        self._subject = subject
        self._find_subject = _add_path(tree, subject, _Subject)
        self._find_time = None if time is None else _add_path(tree, time, _Time)
        # A struct of the wanted members only: msgspec skips the others three times faster than it decodes them.
        self._decode = msgspec.json.Decoder(_struct(tree)).decode

    @staticmethod
    def suspicious(pieces: bytes, longest: int) -> bool:
        """Whether a line may break the rule of `strict_json`."""
        return strict_json.is_suspicious(pieces, longest)

    def prepare(self, piece: bytes) -> bytes:
        """Check the rule of `strict_json`, and replace carriage returns by spaces.

        They separate values, and would end a line of server-sent events.
        """
        strict_json.check(piece)
        return piece.replace(b"\r", b" ")

    def read(self, piece: bytes) -> Row:
        """Read one line; see `Format`."""
        when = None
        try:
            found = self._decode(piece)
            subject = self._find_subject(found)
            if self._find_time is not None:
                when = _text(self._find_time, found)
        except (msgspec.DecodeError, RecursionError) as exc:
            strict_json.check(piece)  # names the place
            raise Malformed(str(exc)) from exc
        except AttributeError:  # a parent of the subject is missing or null
            subject = None
        if subject is None or subject == "":
            raise Malformed(f"member {self._subject!r}: the subject is missing, null or empty")
        return str(subject), piece, when


def _text(find: _Find, found: Any) -> bytes | None:
    try:
        when = find(found)
    except AttributeError:
        return None
    return None if when is None else _json_text(when)[1:-1]


def _add_path(tree: _Tree, path: str, kind: Any) -> _Find:
    """Add a path to the tree; return what gets its value from the struct that is made of the tree."""
    *above, last = path.split(".")
    attributes = []
    for name in above:
        below = tree.setdefault(name, {})
        assert isinstance(below, dict), "the options refuse nested paths"
        attributes.append(_attribute(tree, name))
        tree = below
    tree[last] = kind
    attributes.append(_attribute(tree, last))
    return attrgetter(".".join(attributes))


def _attribute(tree: _Tree, name: str) -> str:
    """Return the attribute name of a member: a member may have any name, an attribute may not."""
    return f"m{list(tree).index(name)}"


def _struct(tree: _Tree) -> type[msgspec.Struct]:
    kinds = {name: _struct(kind) | None if isinstance(kind, dict) else kind for name, kind in tree.items()}
    fields = [(_attribute(tree, name), kind, None) for name, kind in kinds.items()]
    return msgspec.defstruct("Members", fields, rename={_attribute(tree, name): name for name in tree})
