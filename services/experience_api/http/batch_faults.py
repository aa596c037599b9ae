"""Finds which event of a batch makes it JSON that not every reader accepts. Sans-I/O.

Only for batches that are refused: the items are told apart by a parser that accepts more than other readers do.
"""

import json
import re

from shared.errors import Malformed
from shared.events import strict_json

_SPACE = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)


def check_each(body: bytes) -> None:
    """Check the events of a batch one by one; nothing is known of a body that is no array.

    Raises:
        Malformed: names the first event that is not JSON that every reader accepts.
    """
    for index, item in enumerate(_items(body)):
        try:
            strict_json.check(item, strict_json.EVENT_LEVELS)
        except Malformed as exc:
            raise Malformed.of_event(index, f"not JSON that every reader accepts: {exc}") from exc


def _items(body: bytes) -> list[bytes]:
    text = body.decode(errors="surrogateescape")
    found: list[bytes] = []
    at = _after_space(text, 0)
    if text[at : at + 1] != "[":
        return []
    try:
        while text[at] != "]":
            begin = _after_space(text, at + 1)
            _, end = _decoder.raw_decode(text, begin)
            found.append(text[begin:end].encode(errors="surrogateescape"))
            at = _after_space(text, end)
            if text[at] not in ",]":
                return []
    except (ValueError, IndexError, RecursionError):
        return []
    return found if _after_space(text, at + 1) == len(text) else []


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    assert space is not None, "it matches nothing as well"
    return space.end()
