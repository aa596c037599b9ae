"""Keys of one or several columns as one text, so that two keys never share an id.

The key of one column is its value as text. Several values are joined by commas; commas and percent signs in them are
percent-encoded. The databases encode (see their statements), this module decodes.
"""

from collections.abc import Sequence

SEPARATOR = ","
ESCAPES = (("%", "%25"), (SEPARATOR, "%2C"))
"""What is replaced in a value, in this order."""


def encoded(values: Sequence[str]) -> str:
    """Return the text of a key."""
    if len(values) == 1:
        return values[0]
    return SEPARATOR.join(_escaped(value) for value in values)


def decoded(text: str, columns: int) -> list[str]:
    """Return the values of a key of this many columns.

    Raises:
        ValueError: the text is not that of such a key.
    """
    if columns == 1:
        return [text]
    values = text.split(SEPARATOR)
    if len(values) != columns:
        raise ValueError(f"found the key {text[:100]!r}; expected {columns} values")
    for character, escape in reversed(ESCAPES):
        values = [value.replace(escape, character) for value in values]
    return values


def _escaped(value: str) -> str:
    for character, escape in ESCAPES:
        value = value.replace(character, escape)
    return value
