"""Changes the values at a path, in each item of the arrays on the way. Sans-I/O."""

from collections.abc import Callable

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import Path, put
from shared.errors import Malformed
from shared.events.event import check_data
from shared.expression.nodes import Node, Raw, child, expanded, text

Change = Callable[[bytes], bytes]
"""From the JSON text of a value to that of another; raises `Malformed`. The result is checked."""


def change(draft: Draft, path: Path, function: Change) -> None:
    """Change the values at a path; nothing happens where there is none.

    Raises:
        Malformed: a value cannot be changed; the text names the path.
    """

    def checked(written: bytes) -> bytes:
        made = function(written)
        check_data(made)
        return made

    try:
        if path.names[0] != "data":
            raw = draft.attributes().get(path.names[0])
            if raw is not None:
                put(draft, path, Raw(checked(bytes(raw))))
        elif len(path.names) == 1:
            if (whole := draft.data_text()) is not None:
                draft.replace_data_text(checked(whole))
        elif (node := draft.data()) is not None and _change(node, path.names[1:], checked):
            draft.mark_data_changed()
    except Malformed as exc:
        raise Malformed(f"{path}: {exc}") from exc


def _change(node: Node, names: tuple[str, ...], function: Change) -> bool:
    if isinstance(node, list):
        for index, item in enumerate(node):
            node[index] = expanded(item)
        return any([_change(item, names, function) for item in node])  # noqa: C419 -- all of them, not up to the first
    if not isinstance(node, dict):
        return False
    if len(names) == 1:
        found = node.get(names[0])
        if found is None:
            return False
        node[names[0]] = Raw(function(text(found)))
        return True
    below = child(node, names[0])
    return below is not None and _change(below, names[1:], function)
