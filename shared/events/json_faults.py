"""Finds the value that makes a JSON document unreadable for strict readers, with its path.

It is slow, and only for documents that are refused.
"""

import math
import re

_TOKEN = re.compile(
    rb'(?P<string>"(?:[^"\\]++|\\.)*+")|(?P<number>-?[0-9][0-9.eE+-]*+)|(?P<word>-?[A-Za-z]+)|(?P<mark>[\[\]{},:])',
    re.DOTALL,
)
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NO_NUMBERS = (b"NaN", b"-NaN", b"Infinity", b"-Infinity", b"inf", b"-inf", b"nan")
_HIGH, _LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)
_SHOWN = 40
_SHOWN_NAMES = 8


def find_fault(document: bytes, levels: int) -> str | None:
    """Return what is wrong with the first such value, and where; None if there is none.

    Found are lone surrogates, numbers out of range, `NaN` and `Infinity`, and more than `levels` nested objects and
    arrays; other errors of syntax are not.
    """
    path: list[str | int] = []
    for token in _TOKEN.finditer(document):
        text, kind = token[0], token.lastgroup
        if kind == "mark":
            _follow(path, text)
            fault = f"more than {levels} nested objects and arrays" if len(path) > levels else None
        elif kind == "string":
            fault = _fault_of_string(text)
            if path and isinstance(path[-1], str) and not path[-1]:
                path[-1] = text.decode(errors="replace")
        else:
            fault = _fault_of_number(text) if kind == "number" else _fault_of_word(text)
        if fault is not None:
            return f"{_place(path)}byte {token.start()}: found {fault}"
    return None


def _follow(path: list[str | int], mark: bytes) -> None:
    """Track the path: the last name or index of each open object or array. An empty name is not known yet."""
    if mark in b"[{":
        path.append(0 if mark == b"[" else "")
    elif mark in b"]}" and path:
        path.pop()
    elif mark == b"," and path:
        last = path[-1]
        path[-1] = last + 1 if isinstance(last, int) else ""


def _fault_of_string(text: bytes) -> str | None:
    high = None
    end = 0
    for escape in _ESCAPE.finditer(text):
        code = int(escape[1], 16) if escape[1] else 0
        if high is not None:
            if code in _LOW and escape.start() == end:
                high = None
                continue
            break
        if code in _LOW:
            return f"the lone surrogate {escape[0].decode()}; expected a pair"
        if code in _HIGH:
            high, end = escape, escape.end()
    return None if high is None else f"the lone surrogate {high[0].decode()}; expected a pair"


def _fault_of_number(text: bytes) -> str | None:
    try:
        if math.isfinite(float(text)):
            return None
    except ValueError:
        return None  # an error of syntax
    return f"the number {_shortened(text)}; expected at most 1.8e308, the range of a double"


def _fault_of_word(text: bytes) -> str | None:
    return f"{_shortened(text)}; expected a JSON number" if text in _NO_NUMBERS else None


def _place(path: list[str | int]) -> str:
    """Return the path to the current value, such as `items[3].price, `; of a long one, the first names."""
    written = ""
    for name in path[:_SHOWN_NAMES]:
        if isinstance(name, int):
            written += f"[{name}]"
            continue
        plain = name[1:-1]
        if not name:
            continue
        written += "." * bool(written) + (plain if _PLAIN_NAME.fullmatch(plain) else f"`{_short(plain)}`")
    if len(path) > _SHOWN_NAMES:
        written += "…"
    return f"{written}, " if written else ""


def _shortened(text: bytes) -> str:
    return _short(text.decode(errors="replace"))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
