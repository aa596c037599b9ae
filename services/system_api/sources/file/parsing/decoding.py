"""Decodes the lines of a file. No I/O."""

from shared.errors import Malformed

_NAMES = {"utf-8": "UTF-8"}


def line_text(piece: bytes, encoding: str) -> bytes:
    """Return a piece in UTF-8, without the carriage return before its newline.

    Raises:
        Malformed: it is not text in this encoding.
    """
    if (nul := piece.find(b"\0")) >= 0:
        raise Malformed(f"found a NUL byte at its byte {nul}; expected text")
    try:
        text = piece.decode(encoding)
        found = piece if encoding == "utf-8" else text.encode()  # UTF-7 can give half of a surrogate pair
    except UnicodeDecodeError as exc:
        raise Malformed(f"not {_NAMES.get(encoding, encoding)}: {exc.reason} at its byte {exc.start}") from exc
    except UnicodeError as exc:
        raise Malformed(f"not {encoding}: it gives no text that UTF-8 can encode") from exc
    return found.removesuffix(b"\r")
