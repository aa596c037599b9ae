"""The settings of each file format, and what the extension of a file stands for."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from services.system_api.sources.encodings import text_encoding
from services.system_api.sources.file.documents.content import Compression
from services.system_api.sources.file.parsing.columns import ColumnType
from shared.errors import Malformed
from shared.settings import Form, Options

FileFormat = Literal["ndjson", "csv", "text", "fixed", "json", "xml", "parquet", "avro", "excel"]

LINE_FORMATS = frozenset[FileFormat]({"ndjson", "csv", "text", "fixed"})
"""Formats of lines or rows, which can be read while a file grows."""

_FORMATS: dict[str, FileFormat] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".json": "json",
    ".xml": "xml",
    ".parquet": "parquet",
    ".avro": "avro",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
}
BINARY_FORMATS = frozenset[FileFormat]({"parquet", "avro", "excel"})
"""Formats that are no text."""
SEEKING_FORMATS = frozenset[FileFormat]({"parquet", "excel"})
"""Formats that are read from several places of the file, so that it cannot be compressed as a whole."""
_COMPRESSIONS = {
    ".gz": Compression.GZIP,
    ".zst": Compression.ZSTD,
    ".bz2": Compression.BZIP2,
    ".zip": Compression.ZIP,
}

AUTO = "auto"
"""The delimiter that is found in the first row; see `DelimiterFinder`."""

_ASCII = bytes(range(128))
_STATEFUL = ("hz", "iso2022", "utf-7")
"""Encodings in which the same byte means another character after a shift sequence."""
_TRAILING_ASCII = ("big5", "cp932", "cp949", "cp950", "gb", "johab", "shift_jis")
"""Encodings in which ASCII from `@` on can be the second byte of a character."""
_GROUP_ELSEWHERE = re.compile(r"\(\?<[A-Za-z_]")
"""The beginning of a named group in other languages than Python."""
_EXPECTED = "expected one such as 'latin-1', 'cp1252' or 'utf-16'"


def _encoding(name: str) -> str:
    try:
        found = text_encoding(name)
    except Malformed as exc:
        raise ValueError(f"{exc}; {_EXPECTED}") from exc
    return "utf-8" if found == "utf-8-sig" else found


def _compiled(text: object) -> object:
    """Compile a pattern, because Pydantic would not say what is wrong with it."""
    if not isinstance(text, str):
        return text
    try:
        return re.compile(text)
    except re.error as exc:
        hint = "; a named group is written (?P<name>…)" if _GROUP_ELSEWHERE.search(text) else ""
        raise ValueError(f"found {text[:80]!r}; expected a regular expression of Python: {exc}{hint}") from exc


def _with_groups(pattern: re.Pattern[str]) -> re.Pattern[str]:
    if not pattern.groupindex:
        raise ValueError("found no named group; expected some, such as '(?P<id>\\d+)'")
    return pattern


Encoding = Annotated[str, AfterValidator(_encoding)]
"""A character encoding, by any name that Python knows; its normalized name."""

RecordsPath = Annotated[
    str,
    Form(
        r"^([^./]+(\.[^./]+)*|(/[^./ ]+)+)$",
        "names of members with dots between, such as 'data.items', or of elements, such as '/orders/order'",
    ),
]
"""A path to records: members of a JSON document with dots between, or elements of an XML document from the root on."""


class CsvOptions(Options):
    """How rows are read; the rest is RFC 4180."""

    delimiter: Annotated[
        str, Form(r"^([\x09\x20-\x7e]|auto)$", "one ASCII character, such as ';' or a tab (\"\\t\"), or 'auto'")
    ] = ","
    """The ASCII character between fields; of files with the extension .tsv or .tab, a tab. `auto` finds a comma,
    semicolon, tab or bar in the first row of each file; a file where that is not clear is not read."""
    quotes: bool = True
    """Whether a field may be in quotes. Otherwise a quote is an ordinary character."""
    quote: Annotated[str, Form(r"^[\x21-\x7e]$", "one ASCII character, such as '\"'")] = '"'
    """The quote. Within quotes it is doubled, unless `escape` stands before it."""
    escape: Annotated[str, Form(r"^[\x21-\x7e]$", "one ASCII character, such as '\\'")] | None = None
    """The character that takes the meaning of the next one within quotes, such as a backslash."""
    header: bool = True
    """Whether the first row names the columns."""
    columns: tuple[str, ...] | None = Field(default=None, min_length=1)
    """Names of the columns: required without a header; with a header they replace its names."""
    types: dict[str, ColumnType] = Field(default_factory=dict)
    """JSON types of columns by name; a column without an entry is a string."""
    nulls: tuple[str, ...] = ()
    """Texts that mean null in every column, such as `NULL` or an empty one."""
    decimal: Literal[".", ","] = "."
    """What stands before the fraction of a number."""
    ragged: Literal["reject", "pad"] = "reject"
    """What happens to a row with too few fields: it goes to the dead letter topic, or its missing fields are null. A
    row with too many fields goes to the dead letter topic."""

    @model_validator(mode="after")
    def _consistent_columns(self) -> Self:
        if not self.header and self.columns is None:
            raise ValueError("columns: required with header: false; name the columns, such as columns: [id, name]")
        if self.quotes and self.quote in {self.delimiter, self.escape}:
            raise ValueError(f"quote: found {self.quote!r}, which is the delimiter or the escape as well")
        if self.quotes and self.escape == self.delimiter:
            raise ValueError("escape: found the delimiter; expected another character")
        if not self.quotes and self.delimiter == AUTO:
            raise ValueError("delimiter: found 'auto' with quotes: false; name the delimiter")
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            raise ValueError("columns: found a name twice; expected distinct names")
        if self.columns is not None and (unknown := sorted(self.types.keys() - set(self.columns))):
            raise ValueError(f"types: there is no column {unknown[0]!r}; expected names from columns")
        return self


class TextOptions(Options):
    """How lines of text become fields."""

    pattern: Annotated[re.Pattern[str], BeforeValidator(_compiled), AfterValidator(_with_groups)]
    """A regular expression of Python that a whole line matches; its named groups, such as `(?P<level>\\w+)`, are the
    fields. A line that does not match goes to the dead letter topic."""
    types: dict[str, ColumnType] = Field(default_factory=dict)
    """JSON types of fields by name; a field without an entry is a string."""

    @model_validator(mode="after")
    def _consistent_groups(self) -> Self:
        if unknown := sorted(self.types.keys() - self.pattern.groupindex.keys()):
            raise ValueError(f"types: there is no group {unknown[0]!r}; expected names of groups")
        return self


class FixedOptions(Options):
    """Where the fields of a line are."""

    columns: dict[
        str, Annotated[str, Form(r"^[1-9][0-9]*-[1-9][0-9]*$", "the first and the last character, such as '1-10'")]
    ] = Field(min_length=1)
    """Names of the fields, each with its first and its last character, counted from 1: `1-10`. White space around a
    field is left out."""
    types: dict[str, ColumnType] = Field(default_factory=dict)
    """JSON types of fields by name; a field without an entry is a string."""

    @model_validator(mode="after")
    def _consistent_columns(self) -> Self:
        for name, (first, last) in self.places.items():
            if first > last:
                raise ValueError(f"columns: {name}: found {self.columns[name]!r}; expected the first character first")
        if unknown := sorted(self.types.keys() - self.columns.keys()):
            raise ValueError(f"types: there is no column {unknown[0]!r}; expected names from columns")
        return self

    @property
    def places(self) -> dict[str, tuple[int, int]]:
        """The first and the last character of each field."""
        bounds = {name: written.split("-") for name, written in self.columns.items()}
        return {name: (int(first), int(last)) for name, (first, last) in bounds.items()}


class XmlOptions(Options):
    """How elements become values."""

    lists: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Names of elements that are arrays even where there is one of them. Those that occur several times always are."""


class ExcelOptions(Options):
    """Which rows of a workbook are read."""

    sheet: str | None = Field(default=None, min_length=1)
    """The name of the sheet; by default the first visible one."""
    skip_rows: int = Field(default=0, ge=0)
    """Rows before the one that names the columns."""


class ZipOptions(Options):
    """Which files of a ZIP archive are read."""

    members: str = Field(default="*", min_length=1)
    """A glob for the names in the archive, in which `*` stands for `/` as well."""


def keeps_ascii(encoding: str, separator: str = "") -> bool:
    """Whether newlines, quotes and a separator can be found in bytes of an encoding without decoding them."""
    if encoding.startswith(_STATEFUL):
        return False
    try:
        same = _ASCII.decode(encoding) == _ASCII.decode()
    except UnicodeError:
        return False
    return same and (separator < "@" or not encoding.startswith(_TRAILING_ASCII))


def delimiter_of(path: str) -> str:
    """Return the delimiter that the extension of a path stands for."""
    return "\t" if _without_compression(path).suffix.lower() in {".tsv", ".tab"} else ","


def _without_compression(path: str) -> PurePosixPath:
    name = PurePosixPath(path)
    return name.with_suffix("") if name.suffix.lower() in _COMPRESSIONS else name


def compression_of(path: str) -> Compression:
    """Return the compression that the extension of a path stands for."""
    return _COMPRESSIONS.get(PurePosixPath(path).suffix.lower(), Compression.NONE)


def format_of(path: str) -> FileFormat:
    """Return the format that the extension of a path stands for; that of a compression is left out.

    Raises:
        ValueError: the extension is unknown.
    """
    suffix = _without_compression(path).suffix.lower()
    if suffix not in _FORMATS:
        *others, last = _FORMATS
        found = f"the extension {suffix!r}" if suffix else "no extension"
        raise ValueError(
            f"format: found {found} in {path!r}; expected {', '.join(others)} or {last};"
            f" or set format: {', '.join(get_args(FileFormat))}"
        )
    return _FORMATS[suffix]
