"""The settings of a file source; at least `{kind: file, path: orders.ndjson, type: order.updated, subject: id}`."""

import glob
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from services.system_api.sources.file.documents.content import Compression
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.format_options import (
    AUTO,
    BINARY_FORMATS,
    LINE_FORMATS,
    SEEKING_FORMATS,
    CsvOptions,
    Encoding,
    ExcelOptions,
    FileFormat,
    FixedOptions,
    RecordsPath,
    TextOptions,
    XmlOptions,
    ZipOptions,
    compression_of,
    delimiter_of,
    format_of,
    keeps_ascii,
)
from services.system_api.sources.file.parsing.identity import OriginAttribute
from services.system_api.sources.file.remote_options import RemoteOptions, check_url, file_system_of, path_in, scheme_of
from services.system_api.sources.file.start import StartPlace
from services.system_api.sources.source import SourceOptions
from shared.settings import Form, Options, RelativePath, beside_file

_CLASS = re.compile(r"\[!?+\]?+[^\]]*\]")
"""What `fnmatch` takes for one: a `]` that comes first is in the class and does not close it."""
_BRACES = re.compile(r"(?<!\[)\{[^{}/]*,[^{}/]*\}")
"""What some shells take for several names."""

_SECTIONS = {
    "csv": ("csv",),
    "text": ("text",),
    "fixed": ("fixed",),
    "records": ("json", "xml"),
    "xml": ("xml",),
    "excel": ("excel",),
    "skip_lines": ("csv", "text", "fixed"),
}
"""The formats that each of these settings is for."""


def _glob_beside_file(pattern: str, info: ValidationInfo) -> str:
    if pattern.endswith("/"):
        raise ValueError(f"found the folder {pattern}; expected its files, such as {pattern}*.csv")
    if re.match("~[^/]*/", pattern):
        raise ValueError(f"found {pattern!r}; expected a path, because '~' is no folder here; write './~' for the name")
    if _BRACES.search(pattern):
        raise ValueError(
            f"found braces in {pattern!r}, which are no wildcard; expected *, ? or […]; to mean the character itself,"
            " write '[{]'"
        )
    for part in Path(pattern).parts:
        if "[" in _CLASS.sub("", part):
            raise ValueError(f"'[' is not closed in {part!r}; to mean the character itself, write '[[]'")
    if scheme_of(pattern) is not None:
        return check_url(pattern)
    # Wildcards in the name of the settings file's own folder are part of the name.
    folder = glob.escape(str(beside_file("", info)))
    return str(Path(folder) / pattern)


class Ready(StrEnum):
    """How a dropped file is recognised as complete."""

    STABLE = "stable"
    """Its size and modification time have not changed for `stable_seconds`."""
    DONE_FILE = "done-file"
    """A file with the same name and `done_suffix` appended is in the same folder."""
    RENAMED = "renamed"
    """It is complete when it appears: the writer uses another name and renames the file when it is complete."""


class After(StrEnum):
    """What happens to a dropped file once all of it is published; nothing happens to it before that."""

    KEEP = "keep"
    ARCHIVE = "archive"
    DELETE = "delete"


class DropOptions(Options):
    """When whole files are read from a folder, and what happens to them afterwards."""

    ready: Ready = Ready.STABLE
    """How a file is recognised as complete."""
    stable_seconds: float | None = Field(default=None, ge=0)
    """Seconds without a change after which a file counts as complete, with `ready: stable`. By default 5 where it is
    known that no process has the file open for writing (Linux, a local file system), and 60 elsewhere. A file that is
    known to be open for writing is never complete."""
    done_suffix: Annotated[str, Form(r"^\.[^/]+$", "a dot and an ending without '/', such as '.done'")] = ".done"
    """What is appended to a file's name to get the name of its done-file."""
    after: After = After.KEEP
    """What happens to a finished file."""
    archive: RelativePath | None = None
    """The folder for finished files, created if missing; by default `archive` in the folder of the file."""
    receipt: bool = False
    """Whether to write `<name>.receipt.json` next to the finished file: rows, rejects, bytes, SHA-256."""


class FileSourceOptions(SourceOptions):
    """Files of lines or rows, found by a glob."""

    kind: Literal["file"]
    """Files of lines or rows."""
    path: Annotated[str, AfterValidator(_glob_beside_file)] = Field(min_length=1)
    """A file or a glob (`*`, `?`, `[…]`, `**` for folders). A relative path is relative to the settings file. With
    `mode: drop` also a URL, such as `s3://bucket/in/*.csv`."""
    format: FileFormat | None = None
    """The format; by default derived from the extension of `path`, such as .csv, .json or .parquet, with that of a
    compression behind it if there is one."""
    compression: Compression | None = None
    """How the files are compressed; by default derived from the extension of `path`: .gz, .zst, .bz2 or .zip. Such
    files are read with `mode: drop`."""
    encoding: Encoding = "utf-8"
    """The encoding of text, such as `latin-1`, `cp1252` or `utf-16`. Events are UTF-8."""
    subject: str = Field(min_length=1)
    """Where the event's subject, the entity's key, is: a member of the NDJSON object (`customer.id` if nested), or a
    CSV column."""
    time: str | None = Field(default=None, min_length=1)
    """Where the event's time is: a member or column with an RFC 3339 time and its offset. By default, and for a row
    without a value, the time of reading."""
    origin: tuple[OriginAttribute, ...] = ()
    """Attributes of each event that say where in its file it comes from."""
    mode: Literal["tail", "drop"] = "tail"
    """`tail` follows files that grow, through rotation and truncation; `drop` reads complete files."""
    start: StartPlace = "beginning"
    """What is read of the files that are there when the source is started first, without a saved position. `beginning`:
    everything. `end`: nothing; of a file that grows, what is added. A time with its offset: the files that were
    modified since then, whole. Files that appear later are read whole."""
    line_limit: int = Field(default=1_048_576, ge=64, le=3 * 1_048_576)
    """Maximum size of a line or row in bytes. A larger one goes to the dead letter topic with its first 64 KiB."""
    rotated: Annotated[str, Field(min_length=1), AfterValidator(_glob_beside_file)] | None = None
    """Where rotation puts files of `mode: tail`, as a glob, such as `old/*.log*`: files that were begun in `path` are
    read on there, and files that were created and rotated between two looks are read. What was there before the source
    was started first is not read."""
    forget_hours: float = Field(default=24.0, gt=0)
    """Hours for which the position in a file is kept after the file disappeared. If a disk is unmounted for longer, all
    of its files are read again from the beginning."""
    csv: CsvOptions = CsvOptions()
    """How rows of `format: csv` are read."""
    text: TextOptions | None = None
    """How lines of `format: text` are read; required there."""
    fixed: FixedOptions | None = None
    """Where the fields of `format: fixed` are; required there."""
    skip_lines: int = Field(default=0, ge=0, le=1000)
    """Lines at the beginning of each file that are not read, before the header if there is one; not with NDJSON."""
    records: RecordsPath | None = None
    """Where the records of a document are. In JSON, the path to an array or an object, such as `data.items`; arrays on
    the way are entered; by default the document is an array of records, or records one after another. In XML, the names
    of elements from the root on, such as `/orders/order`; required."""
    xml: XmlOptions = XmlOptions()
    """How elements of `format: xml` become values."""
    excel: ExcelOptions = ExcelOptions()
    """Which rows of `format: excel` are read."""
    zip: ZipOptions = ZipOptions()
    """What is read of archives with `compression: zip`."""
    drop: DropOptions = DropOptions()
    """How files are taken with `mode: drop`."""
    remote: RemoteOptions = RemoteOptions()
    """How files are reached where `path` is a URL."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        kind = self.known_format
        for section, wanted in _SECTIONS.items():
            if section in self.model_fields_set and kind not in wanted:
                raise ValueError(f"{section}: the format is {kind}; remove {section}, or set format: {wanted[0]}")
        if reason := self._unreadable():
            raise ValueError(reason)
        if "zip" in self.model_fields_set and self.known_compression is not Compression.ZIP:
            raise ValueError("zip: the files are not ZIP archives; remove zip, or set compression: zip")
        if "drop" in self.model_fields_set and self.mode != "drop":
            raise ValueError("drop: the mode is tail; set mode: drop")
        if self.drop.archive is not None and Glob(self.path).folders_are(str(self.drop.archive)):
            raise ValueError("drop.archive: found the folder of path; expected another folder")
        if self.rotated is not None and self.mode != "tail":
            raise ValueError("rotated: the mode is drop; remove rotated, or set mode: tail")
        if self.mode == "tail" and (reason := self.document_reason) is not None:
            raise ValueError(f"mode: {reason} can only be read as a whole; set mode: drop")
        if kind != "csv" and self.time is not None and _nested(self.subject, self.time):
            raise ValueError(
                f"subject {self.subject!r} and time {self.time!r}: one is inside the other; expected separate members"
            )
        return self

    @model_validator(mode="after")
    def _known_origin(self) -> Self:
        kind = self.known_format
        known = ("file", "line", "bytes") if kind in LINE_FORMATS else ("file", "record")
        if wrong := sorted(set(self.origin).difference(known)):
            found = f"found {wrong[0].value!r}, which {kind} files do not have"
            raise ValueError(f"origin: {found}; expected {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        scheme, archive = scheme_of(self.path), self.remote.archive
        if scheme is None:
            if "remote" in self.model_fields_set:
                raise ValueError(
                    "remote: the path is local; remove remote, or set path to a URL such as s3://bucket/*.csv"
                )
            return self
        if self.mode == "tail":
            raise ValueError(f"mode: files of {scheme}:// cannot be followed while they grow; set mode: drop")
        for name in ("archive", "receipt"):
            if name in self.drop.model_fields_set:
                other = "set remote.archive" if name == "archive" else f"remove drop.{name}"
                raise ValueError(f"drop.{name}: the path is a URL; {other}")
        if archive is not None and file_system_of(archive) != file_system_of(self.path):
            raise ValueError("remote.archive: found another file system; expected that of path")
        if archive is not None and Glob(path_in(self.path)).folders_are(path_in(archive).rstrip("/")):
            raise ValueError("remote.archive: found the folder of path; expected another folder")
        return self

    def _unreadable(self) -> str | None:
        """Return why files cannot be read with the settings of format, compression and encoding."""
        kind, records = self.known_format, self.records
        if kind == "xml" and (records is None or not records.startswith("/")):
            return f"records: found {records or ''!r}; expected the path of the elements, such as '/orders/order'"
        if kind == "json" and records is not None and records.startswith("/"):
            return f"records: found {records!r}; expected names of members with dots between, such as 'data.items'"
        if kind in {"text", "fixed"} or (kind == "csv" and self.csv.columns is not None):
            return self._unnamed(kind)
        if kind in SEEKING_FORMATS and self.known_compression is not Compression.NONE:
            return f"compression: {kind} files are compressed inside; remove compression, or set compression: none"
        if kind in BINARY_FORMATS and self.encoding != "utf-8":
            return f"encoding: {kind} files are no text; remove encoding"
        return None

    def _unnamed(self, kind: str) -> str | None:
        """Return what the settings of a line format lack: themselves, or a field that is named."""
        if kind == "text":
            fields = None if self.text is None else tuple(self.text.pattern.groupindex)
        elif kind == "fixed":
            fields = None if self.fixed is None else tuple(self.fixed.columns)
        else:
            fields = self.csv.columns
        if fields is None:
            return f"{kind}: required with format: {kind}"
        missing = [name for name in (self.subject, self.time) if name is not None and name not in fields]
        return f"{kind}: there is no field {missing[0]!r}; found {', '.join(fields)}" if missing else None

    @property
    def known_format(self) -> FileFormat:
        """The format that is set, or that the extension of the path stands for.

        Raises:
            ValueError: the extension is unknown.
        """
        return format_of(self.path) if self.format is None else self.format

    @property
    def known_compression(self) -> Compression:
        """The compression that is set, or that the extension of the path stands for."""
        return compression_of(self.path) if self.compression is None else self.compression

    @property
    def csv_delimiter(self) -> str:
        """The delimiter that is set, or that the extension of the path stands for; empty if it is to be found."""
        if "delimiter" in self.csv.model_fields_set:
            return "" if self.csv.delimiter == AUTO else self.csv.delimiter
        return delimiter_of(self.path)

    @property
    def reads_encoding_by_line(self) -> bool:
        """Whether lines or rows can be found before they are decoded."""
        separator = (self.csv_delimiter or "|") if self.known_format == "csv" else ""
        return keeps_ascii(self.encoding, separator)

    @property
    def document_reason(self) -> str | None:
        """Why a file is read as a document and not as a file of lines; None if it is one of lines."""
        if self.known_format not in LINE_FORMATS:
            return f"a file of format {self.known_format}"
        if self.known_compression is not Compression.NONE:
            return f"a file compressed by {self.known_compression}"
        if not self.reads_encoding_by_line:
            return f"a file in {self.encoding}"
        return None


def _nested(one: str, other: str) -> bool:
    first, second = one.split("."), other.split(".")
    shorter = min(len(first), len(second))
    return first[:shorter] == second[:shorter]
