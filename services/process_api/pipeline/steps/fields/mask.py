"""`- mask: {redact: [data.name], truncate: {data.zip: 3}}`: hides personal data from subscribers."""

import functools
import hmac
import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Self

import msgspec
from pydantic import Field, model_validator

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import Path, parse
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.fields.changing import Change, change
from services.process_api.pipeline.steps.step import Example, PathText, Step, StepOptions
from shared.expression.exact import normalized
from shared.expression.exact import value as exact_value
from shared.settings import Options, Secret

_string = msgspec.json.Decoder(str).decode
_REDACTED = b'"***"'
_SHORTEST_KEY = 16

_Paths = Annotated[list[PathText], Field(min_length=1)]


class MaskSettings(Options):
    """What is hidden, and how."""

    hash: _Paths | None = None
    """Paths whose values become a keyed hash (HMAC-SHA-256, 64 hexadecimal digits): the same value has the same hash,
    so that subscribers can count and join, and without the key it cannot be guessed."""

    key: Secret | None = None
    """The key of `hash`: at least 16 characters, usually `${NAME}`. Another key gives other hashes."""

    redact: _Paths | None = None
    """Paths whose values become `***`."""

    truncate: dict[PathText, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Paths, each with the number of characters that are kept at the beginning."""

    keep_last: dict[PathText, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    """Paths, each with the number of characters that are kept at the end; `*` replaces each of the others."""

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if (self.hash is None) != (self.key is None):
            raise ValueError("hash, key: found one of them; they belong together")
        if self.key is not None and len(self.key.get_secret_value()) < _SHORTEST_KEY:
            raise ValueError(
                f"key: expected at least {_SHORTEST_KEY} characters, such as those of `openssl rand -hex 32`"
            )
        if not (self.hash or self.redact or self.truncate or self.keep_last):
            raise ValueError("expected one of hash, redact, truncate and keep_last")
        return self


class MaskOptions(StepOptions):
    """Hides values: hashes, redacts or shortens them."""

    kind: ClassVar = "mask"
    example: ClassVar = Example(
        "mask: {redact: [data.name], truncate: {data.zip: 2}, keep_last: {data.card: 4}}",
        [
            (
                {"data": {"name": "Ada", "zip": "80331", "card": "4111111111111111"}},
                [{"data": {"name": "***", "zip": "80", "card": "************1111"}}],
            )
        ],
    )

    mask: MaskSettings
    """What is hidden. Where a path leads through an array, each of its items is masked; null stays null. An event whose
    content is not JSON (`data_base64`) goes to the dead letter, unless attributes alone are hidden. Dead letters hold
    the event as it came: restrict who may read them."""

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Mask(self.mask)


class Mask:
    def __init__(self, settings: MaskSettings) -> None:
        changes: list[tuple[str, Change]] = []
        if settings.hash is not None and settings.key is not None:
            key = settings.key.get_secret_value().encode()
            changes += [(path, functools.partial(_hash, key)) for path in settings.hash]
        changes += [(path, _redact) for path in settings.redact or ()]
        changes += [(path, functools.partial(_truncate, count)) for path, count in settings.truncate.items()]
        changes += [(path, functools.partial(_keep_last, count)) for path, count in settings.keep_last.items()]
        self._changes: list[tuple[Path, Change]] = [(parse(path), function) for path, function in changes]
        self._hides_data = any(path.names[0] == "data" for path, _ in self._changes)

    def apply(self, draft: Draft) -> Sequence[Draft]:
        if self._hides_data and draft.data() is None:
            draft.check_json()  # nothing in other content would be hidden
        for path, function in self._changes:
            change(draft, path, function)
        return (draft,)


def _hash(key: bytes, written: bytes) -> bytes:
    return written if written == b"null" else _json(hmac.digest(key, _hashed(written).encode(), "sha256").hex())


def _redact(written: bytes) -> bytes:
    return written if written == b"null" else _REDACTED


def _truncate(count: int, written: bytes) -> bytes:
    return written if written == b"null" else _json(_text(written)[:count])


def _keep_last(count: int, written: bytes) -> bytes:
    if written == b"null":
        return written
    found = _text(written)
    hidden = max(0, len(found) - count)
    return _json("*" * hidden + found[hidden:])


def _text(written: bytes) -> str:
    """Return the text of a string, and the JSON text of any other value, without what does not matter in it."""
    if written[:1] == b'"':
        return _string(written)
    return (
        written.decode() if written[:1] not in b"[{" else json.dumps(exact_value(written), sort_keys=True, default=str)
    )


def _hashed(written: bytes) -> str:
    """Return the text of a value for its hash: equal values have one text, as 1, 1.0 and 1e0 have."""
    if written[:1] == b'"':
        return _string(written)
    found = normalized(exact_value(written))
    return str(found) if isinstance(found, Decimal) else json.dumps(found, sort_keys=True, default=str)


def _json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()
