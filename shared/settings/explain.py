"""Turns the errors of a model into sentences for the author of the settings file."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from shared.settings.document import Document, Fault, KeyPath
from shared.settings.fields import FORM_MISMATCH
from shared.settings.quantities import example, unit_of
from shared.settings.schema import Keys
from shared.settings.suggestions import keys_around, unknown_key

_SHOWN = 60
"""Characters of a wrong value that are shown: enough to recognise it."""

_URL_PASSWORD = re.compile(r"(://[^\s:/@]*:)[^\s/]+@")
"""The password of a URL, which is not shown; one that contains @ ends at the last @ before the path."""

_WHOLE, _NUMBER, _LIST, _MAPPING = (
    "expected a whole number",
    "expected a number",
    "expected a list",
    "expected a mapping",
)
_BOOLEAN = "expected true or false"

_EXPECTED = {
    "array": _LIST,
    "boolean": _BOOLEAN,
    "integer": _WHOLE,
    "number": _NUMBER,
    "object": _MAPPING,
    "string": "expected text",
}
"""What to write instead of a value of another type of JSON Schema."""

_OF_KEY = "[key]"
"""The end of the location that Pydantic gives to a fault in a mapping's key."""

_SENTENCES = {
    "bool_parsing": _BOOLEAN,
    "bool_type": _BOOLEAN,
    "dict_type": _MAPPING,
    "finite_number": "expected a finite number",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "frozen_set_type": _LIST,
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": "expected a whole number of a sensible size",
    "int_type": _WHOLE,
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": _LIST,
    "literal_error": "expected {expected}",
    "enum": "expected {expected}",
    "mapping_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "model_type": _MAPPING,
    "path_type": "expected a path",
    "set_type": _LIST,
    "string_pattern_mismatch": "expected text of the form {pattern}",
    FORM_MISMATCH: "expected {expected}",
    "string_type": "expected text (in quotes, if it looks like something else)",
    "string_unicode": "expected text without lone surrogates",
    "tuple_type": _LIST,
}

_LENGTHS = {
    "string_too_long": ("at most", "max_length", "character", "characters"),
    "string_too_short": ("at least", "min_length", "character", "characters"),
    "too_long": ("at most", "max_length", "entry", "entries"),
    "too_short": ("at least", "min_length", "entry", "entries"),
}

_NAMED_KEYS = re.compile(r"([a-z_]+(?:, [a-z_]+)*): ")

_NUMBERS = {"finite_number", "float_parsing", "float_type"}
_WHOLE_NUMBERS = {"int_from_float", "int_parsing", "int_type"}


def faults(error: ValidationError, document: Document, keys: Keys, hidden: set[KeyPath]) -> list[Fault]:
    """Turn the errors of a model into sentences with places.

    The errors of several alternatives at one place become one sentence. Values at `hidden` paths and secrets are
    never shown, not even where a validator's own sentence quotes them.
    """
    found: dict[KeyPath, list[str]] = {}
    details = error.errors(include_url=False)
    for detail in details:
        kind, context = detail["type"], detail.get("ctx", {})
        path = _path(detail["loc"], document.value, missing=kind == "missing")
        value = _value(document.value, path)
        if kind == "too_short" and _has_wrong_entries(detail["loc"], value, context["min_length"], details):
            continue  # Pydantic counts the entries that it accepts
        secret = any(path[:length] in hidden for length in range(len(path) + 1)) or keys.secret(path, document.value)
        if kind == "extra_forbidden":
            sentence = unknown_key(str(path[-1]), *keys_around(path, document.value, keys))
        elif kind == "missing":
            sentence = "is required"
        elif kind in {"union_tag_invalid", "union_tag_not_found"}:
            path, sentence = _kind(path, context, value, hidden)
        else:
            of_key = detail["loc"][-1:] == (_OF_KEY,)
            refused = _Refused(kind, context, path[-1] if of_key else value, secret=secret)
            expected = _quantity(refused, path, document, keys)
            sentence = _sentence(detail["msg"], refused) if expected is None else f"{expected}, {refused.found}"
            path, sentence = _at_named_key(path, sentence, keys, document)
            sentence = f"the key itself: {sentence}" if of_key else sentence
        found.setdefault(path, [])
        if sentence not in found[path]:
            found[path].append(sentence)
    return [Fault(path, document.place(path), "; or ".join(sentences)) for path, sentences in found.items()]


def _at_named_key(path: KeyPath, sentence: str, keys: Keys, document: Document) -> tuple[KeyPath, str]:
    """Move a fault to the key that its sentence begins with (`csv: …`): a validator of a whole part knows no places.

    Of several keys (`ca_file, cert_file: …`), the first one that is in the file is taken.
    """
    found = _NAMED_KEYS.match(sentence)
    names = [] if found is None else found[1].split(", ")
    if found is None or not set(names) <= set(keys.at(path, document.value)):
        return path, sentence
    name = next((name for name in names if (*path, name) in document.places), names[0])
    return (*path, name), sentence[found.end() :] if len(names) == 1 else sentence


def mistyped(document: Document, keys: Keys, references: set[KeyPath]) -> Iterator[Fault]:
    """Yield a fault for each scalar that a model would convert: the text `yes` to true, or true to 1.

    A text that refers to the environment may have a value of any type.
    """
    for path, value, types in keys.scalars(document.value):
        wanted = types - {"null"}
        if path in references or not wanted or wanted & _types(value):
            continue
        expected = "; or ".join(_EXPECTED[kind] for kind in sorted(wanted))
        shown = "a value that is not shown" if keys.secret(path, document.value) else _shown(value)
        yield Fault(path, document.place(path), f"{expected}, found {shown}")


def _types(value: Any) -> set[str]:
    """Return the types of JSON Schema that a scalar has."""
    if isinstance(value, bool):
        return {"boolean"}
    if isinstance(value, int | float):
        return {"number", "integer"} if isinstance(value, int) or value.is_integer() else {"number"}
    return {"string"}


def _has_wrong_entries(
    location: tuple[str | int, ...], value: Any, least: int, details: Iterable[Mapping[str, Any]]
) -> bool:
    """Return whether a value has enough entries, and some of them are refused."""
    enough = isinstance(value, list | dict) and len(value) >= least
    return enough and any(each["loc"][:-1] == location for each in details)


def _path(location: tuple[str | int, ...], value: Any, *, missing: bool) -> KeyPath:
    """Return the location as a path in the file, without the names of alternatives."""
    path: list[str | int] = []
    chosen = False
    for part in location[:-1] if missing else location:
        if isinstance(value, dict) and part == value.get("kind") and not chosen:
            # The name of the alternative that `kind` selects. A key may have the same name.
            chosen = True
            continue
        chosen = False
        if isinstance(value, dict) and part in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int) and 0 <= part < len(value):
            value = value[part]
        else:
            continue
        path.append(part)
    return (*path, location[-1]) if missing else tuple(path)


def _value(value: Any, path: KeyPath) -> Any:
    for part in path:
        if isinstance(value, dict):
            value = value.get(str(part))
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
    return value


def _kind(path: KeyPath, context: Mapping[str, Any], value: Any, hidden: set[KeyPath]) -> tuple[KeyPath, str]:
    """Return the path and the sentence for a kind that does not exist; `context` has the key and the choices."""
    key = str(context.get("discriminator", "kind")).strip("'")
    if not isinstance(value, dict) or key not in value:
        return (*path, key), "is required"
    choices = [choice.strip(" '") for choice in str(context.get("expected_tags", "")).split(",")]
    name = "(not shown)" if (*path, key) in hidden else _shown(value[key])
    close = difflib.get_close_matches(str(value[key]), choices, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else f"; one of: {', '.join(choices)}"
    return (*path, key), f"unknown {key} {name}{hint}"


class _Refused(NamedTuple):
    """One value that a model refused."""

    kind: str
    context: Mapping[str, Any]
    value: Any
    secret: bool

    @property
    def found(self) -> str:
        """The found value, as the end of a sentence."""
        return f"found {'a value that is not shown' if self.secret else _shown(self.value)}"


def _quantity(refused: _Refused, path: KeyPath, document: Document, keys: Keys) -> str | None:
    """Return which number is expected of a setting with a unit; None for all other settings."""
    if refused.kind not in _NUMBERS | _WHOLE_NUMBERS:
        return None
    description, default = keys.about(path, document.value)
    unit = unit_of(str(path[-1]), description)
    if unit is None:
        return None
    whole = refused.kind in _WHOLE_NUMBERS
    number = example(unit, None if refused.secret else refused.value, default, whole=whole)
    return f"expected {unit} as a {'whole number' if whole else 'number'}, such as {number}"


def _sentence(message: str, refused: _Refused) -> str:
    kind, context, value, secret = refused
    if kind in {"value_error", "assertion_error"}:
        # The sentence of one of our validators, which may quote the value.
        text = str(context.get("error") or message.partition(", ")[2])
        shown = text.replace(value, "***") if secret and isinstance(value, str) and value else text
        return _URL_PASSWORD.sub(r"\1***@", shown)
    if kind in _LENGTHS:
        return _length(refused)
    template = _SENTENCES.get(kind)
    if template is None:
        sentence = message.replace("Input should be", "expected").replace("Value is", "it is")
        return sentence[:1].lower() + sentence[1:]
    return f"{template.format(**context)}, {refused.found}"


def _length(refused: _Refused) -> str:
    bound, name, one, several = _LENGTHS[refused.kind]
    limit = refused.context[name]
    expected = f"expected {bound} {f'one {one}' if limit == 1 else f'{limit} {several}'}"
    if isinstance(refused.value, list | dict) and refused.value and not refused.secret:
        return f"{expected}, found {len(refused.value)}"
    return f"{expected}, {refused.found}"


def _shown(value: Any) -> str:
    """Return a wrong value as one short line."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        value = _URL_PASSWORD.sub(r"\1***@", value)
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
