"""Faults and warnings found in settings after they are read, each with the path of its setting."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from shared.settings.document import KeyPath


class Finding(NamedTuple):
    """One fault or warning, with its place in the settings."""

    path: KeyPath
    sentence: str

    def __str__(self) -> str:
        """Return it as a line, without the place in a file."""
        where = ".".join(map(str, self.path))
        return f"{where}: {self.sentence}" if where else self.sentence


def parts(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, BaseModel]]:
    """Return every model within a value, with its path: one model first, then those within it."""
    if isinstance(value, BaseModel):
        if path:
            yield path, value
        for name, field in type(value).model_fields.items():
            yield from parts(getattr(value, name), (*path, field.alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from parts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from parts(item, (*path, index))
