"""The values that expressions give. No I/O."""

import msgspec

from shared.errors import Malformed

_QUOTE = b'"'[0]
_SHOWN = 80

_string = msgspec.json.Decoder(str).decode


def text_value(setting: str, found: bytes) -> str | None:
    """Return a text or a number as text, None for null; `found` is JSON.

    Raises:
        Malformed: it is neither; names the setting.
    """
    if found[0] == _QUOTE:
        return _string(found)
    if found[:1].isdigit() or found[:1] == b"-":
        return found.decode()
    if found == b"null":
        return None
    raise Malformed(f"{setting}: the expression gives {shown(found)}; expected a text or a number")


def shown(found: bytes) -> str:
    """Return the beginning of a value, for people."""
    return f"{found[:_SHOWN].decode(errors='replace')}{'…' if len(found) > _SHOWN else ''}"
