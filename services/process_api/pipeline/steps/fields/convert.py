"""`- convert: {data.amount: number, data.at: {from: milliseconds, to: rfc3339}}`: other types, units and formats."""

import functools
import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, Self, cast, get_args

import msgspec
from pydantic import Discriminator, Field, Tag, model_validator

from services.process_api.pipeline.draft import Draft
from services.process_api.pipeline.paths import parse
from services.process_api.pipeline.steps.context import StepContext
from services.process_api.pipeline.steps.fields import documents
from services.process_api.pipeline.steps.fields.changing import Change, change
from services.process_api.pipeline.steps.fields.times import TimeUnit, converted
from services.process_api.pipeline.steps.step import Example, PathText, Step, StepOptions
from shared.errors import Malformed
from shared.expression import exact
from shared.settings import Options

Format = Literal["json", "xml", "csv"]

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_BOOLEANS = {"true": b"true", "yes": b"true", "1": b"true", "false": b"false", "no": b"false", "0": b"false"}
_encode = msgspec.json.Encoder(decimal_format="number").encode
_SHOWN = 80


class Conversion(Options):
    """From one unit of time, or one format, to another."""

    from_: TimeUnit | Format = Field(alias="from")
    """What the value is: `seconds`, `milliseconds`, `microseconds` or `nanoseconds` since 1970, or `rfc3339`; or text
    in the format `xml` or `csv`, or a value (`json`)."""

    to: TimeUnit | Format
    """What it becomes."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        units = get_args(TimeUnit)
        formats = {("xml", "json"), ("csv", "json"), ("json", "xml"), ("json", "csv")}
        both_times = self.from_ in units and self.to in units
        if not both_times and (self.from_, self.to) not in formats:
            raise ValueError(
                f"found from {self.from_} to {self.to}; expected two units of time, or json and xml or csv"
            )
        return self


class ConvertOptions(StepOptions):
    """Converts values to other types, units of time and formats."""

    kind: ClassVar = "convert"
    example: ClassVar = Example(
        "convert: {data.amount: number, data.at: {from: milliseconds, to: rfc3339}, data.body: {from: xml, to: json}}",
        [
            (
                {"data": {"amount": "12.50", "at": 1767323045678, "body": '<order id="7"><sku>A</sku></order>'}},
                [
                    {
                        "data": {
                            "amount": 12.5,
                            "at": "2026-01-02T03:04:05.678Z",
                            "body": {"order": {"@id": "7", "sku": "A"}},
                        }
                    }
                ],
            )
        ],
    )

    convert: Annotated[
        dict[
            PathText,
            Annotated[
                Annotated[Conversion, Tag("conversion")]
                | Annotated[Literal["string", "number", "integer", "boolean"], Tag("type")],
                Discriminator(lambda written: "conversion" if isinstance(written, dict | Conversion) else "type"),
            ],
        ],
        Field(min_length=1),
    ]
    """Paths, each with a type (`string`, `number`, `integer`, `boolean`) or with `from` and `to`. Numbers keep all
    their digits. Null stays null, and an absent member absent; a value that cannot be converted sends the event to the
    dead letter. Where a path leads through an array, each of its items is converted. XML needs the extra `files`."""

    def build(self, context: StepContext) -> Step:  # noqa: ARG002 -- it needs nothing
        return Convert(self)


class Convert:
    def __init__(self, options: ConvertOptions) -> None:
        self._changes = [(parse(path), _change_of(wanted)) for path, wanted in options.convert.items()]

    def apply(self, draft: Draft) -> Sequence[Draft]:
        for path, function in self._changes:
            change(draft, path, function)
        return (draft,)


def _change_of(wanted: Conversion | str) -> Change:
    if isinstance(wanted, str):
        return functools.partial(_typed, wanted)
    if wanted.from_ in get_args(TimeUnit):
        return functools.partial(_time, wanted)
    return functools.partial(_document, wanted)


def _typed(kind: str, written: bytes) -> bytes:
    if written == b"null":
        return written
    if kind == "string":
        return written if written[:1] == b'"' else _encode(written.decode())
    value = exact.value(written)
    text = value.strip() if isinstance(value, str) else written.decode()
    if kind == "boolean":
        found = _BOOLEANS.get(text.lower())
        if found is not None:
            return found
    elif isinstance(value, bool):
        return b"1" if value else b"0"
    elif _NUMBER.fullmatch(text):
        if kind == "number":
            return text.encode()
        if (whole := exact.whole(exact.value(text.encode()))) is not None:
            return str(whole).encode()
    raise Malformed(f"found {text[:_SHOWN]!r}; expected {kind}")


def _time(wanted: Conversion, written: bytes) -> bytes:
    if written == b"null":
        return written
    return _encode(converted(exact.value(written), cast("TimeUnit", wanted.from_), cast("TimeUnit", wanted.to)))


def _document(wanted: Conversion, written: bytes) -> bytes:
    if written == b"null":
        return written
    value = exact.value(written)
    if wanted.from_ == "json":
        return _encode(documents.to_xml(value) if wanted.to == "xml" else documents.to_csv(value))
    if not isinstance(value, str):
        raise Malformed(f"found {written[:_SHOWN].decode(errors='replace')}; expected text in {wanted.from_}")
    return _encode(documents.from_xml(value) if wanted.from_ == "xml" else documents.from_csv(value))
