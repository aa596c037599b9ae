"""The settings of each file format, and what the extension of a file stands for."""

import codecs
from pathlib import PurePosixPath
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from services.system_api.sources.file.documents.content import Compression
from shared.settings import Form, Options

FileFormat = Literal["ndjson", "csv", "json", "xml", "parquet", "avro", "excel"]

LINE_FORMATS = frozenset[FileFormat]({"ndjson", "csv"})
"""Formats of lines or rows, which can be read while a file grows."""

_FORMATS: dict[str, FileFormat] = {
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".csv": "csv",
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

_ASCII = bytes(range(128))
_STATEFUL = ("hz", "iso2022", "utf-7")
"""Encodings in which the same byte means another character after a shift sequence."""
_TRAILING_ASCII = ("big5", "cp932", "cp949", "cp950", "gb", "johab", "shift_jis")
"""Encodings in which ASCII from `@` on can be the second byte of a character."""
_NO_ENCODINGS = ("idna", "punycode")
_EXPECTED = "expected one such as 'latin-1', 'cp1252' or 'utf-16'"


def _encoding(name: str) -> str:
    try:
        found = codecs.lookup(name)
    except LookupError as exc:
        raise ValueError(f"there is no encoding {name[:40]!r}; {_EXPECTED}") from exc
    text = getattr(found, "_is_text_encoding", True) and found.incrementaldecoder is not None
    if not text or found.name in _NO_ENCODINGS:
        raise ValueError(f"{name[:40]!r} is no encoding of text; {_EXPECTED}")
    return "utf-8" if found.name == "utf-8-sig" else found.name


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


def compression_of(path: str) -> Compression:
    """Return the compression that the extension of a path stands for."""
    return _COMPRESSIONS.get(PurePosixPath(path).suffix.lower(), Compression.NONE)


def format_of(path: str) -> FileFormat:
    """Return the format that the extension of a path stands for; that of a compression is left out.

    Raises:
        ValueError: the extension is unknown.
    """
    name = PurePosixPath(path)
    if name.suffix.lower() in _COMPRESSIONS:
        name = name.with_suffix("")
    suffix = name.suffix.lower()
    if suffix not in _FORMATS:
        *others, last = _FORMATS
        found = f"the extension {suffix!r}" if suffix else "no extension"
        raise ValueError(
            f"format: found {found} in {path!r}; expected {', '.join(others)} or {last};"
            f" or set format: {', '.join(get_args(FileFormat))}"
        )
    return _FORMATS[suffix]
