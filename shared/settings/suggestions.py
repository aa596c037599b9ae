"""Says which key was meant by one that is unknown."""

import difflib
from collections.abc import Iterable
from typing import Any

from shared.settings.document import KeyPath
from shared.settings.schema import Keys

_SHOWN = 60
"""Characters of an unknown key that are shown: enough to recognise it."""
_SIMILAR, _TYPING_ERROR = 0.7, 0.85
"""How similar a known key is to an unknown one if it may be meant, or if it surely is."""
_SUGGESTED = 3


def unknown_key(name: str, known: Iterable[str], below: Iterable[str] = ()) -> str:
    """Return the sentence for an unknown key, with the key that was meant: a similar one, or one of a mapping.

    `below` are the keys of the mappings beside it, each as `mapping.key`.
    """
    known = list(known)
    misplaced = [path for path in below if path.rpartition(".")[2] == name]
    similar = difflib.get_close_matches(name, known, n=1, cutoff=_TYPING_ERROR if misplaced else _SIMILAR)
    meant = " or ".join(map(repr, similar or misplaced[:_SUGGESTED]))
    hint = f"did you mean {meant}?" if meant else f"known here: {', '.join(known)}" if known else ""
    return f"unknown key {name[:_SHOWN]!r}{'; ' if hint else ''}{hint}"


def keys_around(path: KeyPath, value: Any, keys: Keys) -> tuple[list[str], list[str]]:
    """Return the keys that the last one of a path could be, and those of the mappings beside it; see `unknown_key`."""
    known = keys.at(path[:-1], value)
    return known, [f"{name}.{key}" for name in known for key in keys.at((*path[:-1], name), value)]
