"""Items of arrays as events of their own, and back. Sans-I/O."""

from collections.abc import Sequence

import msgspec

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import Path
from shared.errors import Malformed
from shared.expression.nodes import Node, Raw, child

ITEM_LIMIT = 100_000
"""Items that one event is split into at most."""

_items = msgspec.json.Decoder(list[Raw]).decode


def items_of(written: bytes | None, what: str) -> list[Node]:
    """Return the items of an array as JSON text; none where it is undefined or null.

    Raises:
        Malformed: it is something else, or too long.
    """
    if written is None or written == b"null":
        return []
    if written[:1] != b"[":
        raise Malformed(f"{what}: found {written[:80].decode(errors='replace')}; expected an array")
    found = _items(written)
    if len(found) > ITEM_LIMIT:
        raise Malformed(f"{what}: found {len(found)} items; expected at most {ITEM_LIMIT}")
    return list(found)


def node_at(draft: Draft, path: Path) -> Node | None:
    """Return the value at a path into the entity, None where it is absent."""
    node: Node | None = draft.data()
    for name in path.names[1:]:
        node = child(node, name) if isinstance(node, dict) else None
    return node


def entities(drafts: Sequence[Draft]) -> list[Node]:
    """Return the entities of events; null for an event without one."""
    return [Raw(draft.data_text() or b"null") for draft in drafts]
