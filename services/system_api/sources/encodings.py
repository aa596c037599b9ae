"""Character encodings whose names come from outside: from settings, and from what an upstream says. No I/O."""

import codecs

from shared.errors import Malformed

_NO_ENCODINGS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"})
"""What Python registers beside encodings of text: names of hosts, literals of Python, and a codec that always fails."""


def text_encoding(name: str) -> str:
    """Return the normalized name of an encoding of text, which every name is that Python knows.

    Raises:
        Malformed: there is no such encoding, or it is not one of text.
    """
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError) as exc:  # a name with a NUL character, or that UTF-8 cannot encode
        raise Malformed(f"there is no encoding {name[:40]!r}") from exc
    text = getattr(found, "_is_text_encoding", True) and found.incrementaldecoder is not None
    if not text or found.name in _NO_ENCODINGS:
        raise Malformed(f"{name[:40]!r} is no encoding of text")
    return found.name


def decoded(data: bytes, encoding: str) -> str:
    """Decode text, which can be encoded as UTF-8.

    Raises:
        Malformed: it is not text in this encoding.
    """
    try:
        text = data.decode(encoding)
        if encoding != "utf-8":
            text.encode()  # UTF-7 can give half of a surrogate pair
    except UnicodeDecodeError as exc:
        raise Malformed(f"not {encoding}: {exc.reason} at byte {exc.start}") from exc
    except UnicodeError as exc:
        raise Malformed(f"not {encoding}: it gives no text that UTF-8 can encode") from exc
    return text
