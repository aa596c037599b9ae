"""What a file source is told; `{kind: file, path: orders.ndjson, type: order.updated, subject: id}` is enough."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from services.system_api.source import SourceOptions
from services.system_api.sources.file.delimited import ColumnType
from shared.settings import Options, RelativePath, beside_file

_FORMATS: dict[str, Literal["ndjson", "csv"]] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
}


def _glob_beside_file(pattern: str, info: ValidationInfo) -> str:
    return str(beside_file(pattern, info))


class CsvOptions(Options):
    """How rows are read; everything beyond that is RFC 4180."""

    delimiter: str = Field(default=",", min_length=1, max_length=1, pattern=r"^[\x09\x20-\x7e]$")
    """One ASCII character between fields."""
    quotes: bool = True
    """Whether a field may stand in double quotes; without, a quote is a character like any other."""
    header: bool = True
    """Whether the first row names the columns."""
    columns: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Their names: needed where there is no header, and used in place of the header's where there is one."""
    types: dict[str, ColumnType] = Field(default_factory=dict)
    """What columns stand for, where not for strings."""

    @model_validator(mode="after")
    def _columns_known(self) -> Self:
        if not self.header and self.columns is None:
            raise ValueError("without a header, name the columns: columns: [id, name, …]")
        if self.delimiter == '"' and self.quotes:
            raise ValueError("the delimiter is the quote; set quotes: false, or another delimiter")
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            raise ValueError("columns: a name comes twice")
        if self.columns is not None and (unknown := sorted(self.types.keys() - set(self.columns))):
            raise ValueError(f"types: there is no column {unknown[0]!r}")
        return self


class Ready(StrEnum):
    """How it is known that a dropped file is complete."""

    STABLE = "stable"
    """Its size and time have not changed for `stable_seconds`."""
    DONE_FILE = "done-file"
    """A file of the same name with `done_suffix` added stands beside it."""
    RENAMED = "renamed"
    """It is complete when it appears: whoever writes it does so under another name and renames it."""


class After(StrEnum):
    """What becomes of a dropped file once all of it is published. Never anything before that."""

    KEEP = "keep"
    ARCHIVE = "archive"
    DELETE = "delete"


class DropOptions(Options):
    """How whole files are taken from a folder, and what becomes of them."""

    ready: Ready = Ready.STABLE
    """How a file tells that it is complete."""
    stable_seconds: float = Field(default=1.0, ge=0)
    """How long nothing may have changed before a file counts as complete."""
    done_suffix: str = Field(default=".done", min_length=2, pattern=r"^\.[^/]+$")
    """What the name of a done-file has after that of its file."""
    after: After = After.KEEP
    """What becomes of a file that is finished."""
    archive: RelativePath | None = None
    """The folder for finished files, made if missing; by default `archive` beside the file."""
    receipt: bool = False
    """Whether `<name>.receipt.json` is written beside the finished file: rows, rejects, bytes, SHA-256."""


class FileSourceOptions(SourceOptions):
    """Files of lines or rows, found by a glob."""

    kind: Literal["file"]
    """Files of lines or rows."""
    path: Annotated[str, AfterValidator(_glob_beside_file)] = Field(min_length=1)
    """A file or a glob (`*`, `?`, `[…]`, `**` for folders); a relative one is relative to the settings file."""
    format: Literal["ndjson", "csv"] | None = None
    """By default told from the ending of the path: .ndjson, .jsonl or .csv."""
    subject: str = Field(min_length=1)
    """The entity's key: a member of the NDJSON object, with dots where it lies below others; or a CSV column."""
    time: str | None = Field(default=None, min_length=1)
    """When the change happened, as RFC 3339 with an offset: a member or column. None, or none in a row: when it was
    read."""
    mode: Literal["tail", "drop"] = "tail"
    """`tail` follows files that grow, through rotation and truncation; `drop` takes whole files once they are ready."""
    line_limit: int = Field(default=1_048_576, ge=64, le=3 * 1_048_576)
    """Bytes of the largest line or row; a larger one goes to the dead letter, with its first 64 KiB."""
    forget_hours: float = Field(default=24.0, gt=0)
    """How long the place in a file is remembered after the file has gone: long enough for a disk to be mounted again,
    or all of its files would be read from the beginning."""
    csv: CsvOptions = CsvOptions()
    """How rows of `format: csv` are read."""
    drop: DropOptions = DropOptions()
    """How files are taken with `mode: drop`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        kind = self.known_format
        if "csv" in self.model_fields_set and kind != "csv":
            raise ValueError("csv: the format is ndjson")
        if "drop" in self.model_fields_set and self.mode != "drop":
            raise ValueError("drop: the mode is tail; set mode: drop")
        if kind == "ndjson" and self.time is not None and _leads_through(self.subject, self.time):
            raise ValueError(f"subject {self.subject!r} and time {self.time!r}: one leads through the other")
        return self

    @property
    def known_format(self) -> Literal["ndjson", "csv"]:
        """The format that was given, or told from the path.

        Raises:
            ValueError: the path does not tell.
        """
        if self.format is not None:
            return self.format
        suffix = Path(self.path).suffix.lower()
        if suffix not in _FORMATS:
            raise ValueError(f"format: {suffix or 'the path'!r} does not tell it; set format: ndjson or format: csv")
        return _FORMATS[suffix]


def _leads_through(one: str, other: str) -> bool:
    first, second = one.split("."), other.split(".")
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]
