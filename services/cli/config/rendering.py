"""Values with their origins as YAML, each with its origin as a comment. No I/O."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from services.cli.config.origins import Value, scalar

_COLUMN = 48
"""Where comments begin, at least."""


def lines(values: Iterable[Value]) -> Iterator[str]:
    """Yield the lines of a YAML file."""
    yield from _mapping(list(values), 0)


def _mapping(values: list[Value], depth: int) -> Iterator[str]:
    indent = "  " * depth
    for key, group in groupby(values, lambda value: value.path[depth]):
        inner = list(group)
        head = f"{indent}{'-' if isinstance(key, int) else f'{scalar(key)}:'}"
        if len(inner[0].path) == depth + 1:
            yield f"{f'{head} {scalar(inner[0].value)}'.ljust(_COLUMN)}  # {inner[0].origin}"
        else:
            yield head
            yield from _mapping(inner, depth + 1)
