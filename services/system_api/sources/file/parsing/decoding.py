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
    except UnicodeDecodeError as exc:
        raise Malformed(f"not {_NAMES.get(encoding, encoding)}: {exc.reason} at its byte {exc.start}") from exc
    return (piece if encoding == "utf-8" else text.encode()).removesuffix(b"\r")
