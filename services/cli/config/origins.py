"""Where each value of the settings comes from: the file, the environment, or a default. No I/O."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python

from shared.runtime.redaction import redact
from shared.settings import KeyPath, Loaded

DEFAULT = "default"
MASK = "***"
_PLAIN_HEADERS = {"accept", "accept-encoding", "accept-language", "content-type", "prefer", "user-agent"}
"""Headers that hold no secret; the names of those that do are up to the API."""
_QUERY = re.compile(
    r"(?<=[?&])([^=&#\s]*(?:sig|secret|passw|token|key|credential|auth|code)[^=&#\s]*)=[^&#\s]*", re.IGNORECASE
)
"""The parameters of a URL that may hold a secret, such as that of a signed URL."""
_SECRET_NAME = re.compile(r"secret|passw|token|key|credential|dsn|auth", re.IGNORECASE)


class Value(NamedTuple):
    """One value, as people may see it."""

    path: KeyPath
    value: Any
    """As JSON; a secret is masked."""
    origin: str


def values(loaded: Loaded[Any]) -> Iterator[Value]:
    """Yield every value of the settings, in their order. An empty list or mapping is a value itself."""
    for path, value in _leaves(loaded.settings, ()):
        origin, variables = _origin(loaded, path)
        yield Value(path, _shown(path, value, variables), origin)


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    inner: list[tuple[str | int, Any]]
    if isinstance(value, BaseModel):
        inner = [(field.alias or name, getattr(value, name)) for name, field in type(value).model_fields.items()]
    elif isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list | tuple):
        inner = list(enumerate(value))
    else:
        inner = []
    if not inner:
        yield path, {} if isinstance(value, BaseModel) else value
    for key, item in inner:
        yield from _leaves(item, (*path, key))


def _origin(loaded: Loaded[Any], path: KeyPath) -> tuple[str, tuple[str, ...]]:
    """Return the origin of a value, and the variables of the environment that it holds.

    A short form of the file, such as a text for a mapping, is the origin of all that it stands for.
    """
    length = len(path)
    while length and path[:length] not in loaded.document.places:
        length -= 1
    found = path[:length]
    if not found or (length < len(path) and isinstance(_at(loaded.document.value, found), dict | list)):
        return DEFAULT, ()
    line, column = loaded.document.place(found)
    place = f"{loaded.name}:{line}:{column}"
    variables = tuple(loaded.variables.get(found, ()))
    return (f"environment {', '.join(variables)}, {place}" if variables else place), variables


def _at(value: Any, path: KeyPath) -> Any:
    for part in path:
        value = value[part]
    return value


def _shown(path: KeyPath, value: Any, variables: tuple[str, ...]) -> Any:
    if isinstance(value, SecretStr) or any(_SECRET_NAME.search(name) for name in variables):
        return MASK
    plain = to_jsonable_python(value, fallback=str)
    if not isinstance(plain, str):
        return plain
    return MASK if _is_secret(path) else redact(_QUERY.sub(rf"\1={MASK}", plain) if "://" in plain else plain)


def _is_secret(path: KeyPath) -> bool:
    """Return whether a text is one of those by the name that the file gives it: of a header, of a parameter."""
    match path:
        case (*_, "headers", str(name)):
            return name.lower() not in _PLAIN_HEADERS
        case (*_, "parameters", str(name)):
            return _SECRET_NAME.search(name) is not None or "assertion" in name.lower()
        case _:
            return False


def text(path: KeyPath) -> str:
    """Return a path as one word."""
    return ".".join(map(str, path))


def scalar(value: Any) -> str:
    """Return a value as YAML on one line: JSON is YAML, and plain words need no quotes."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z][A-Za-z0-9_./-]*", value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)


_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Words that are not text in YAML 1.1 or 1.2."""
