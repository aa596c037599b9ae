"""Connects the settings of a format to the code that reads it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import BinaryIO, assert_never

from services.system_api.sources.file.documents.content import Content
from services.system_api.sources.file.documents.json_items import read_json
from services.system_api.sources.file.documents.reader import (
    DocumentReader,
    LineReader,
    PartReader,
    RecordReader,
)
from services.system_api.sources.file.documents.records import Records
from services.system_api.sources.file.format_options import LINE_FORMATS
from services.system_api.sources.file.options import FileSourceOptions
from services.system_api.sources.file.parsing.delimited import Csv
from services.system_api.sources.file.parsing.dialect import DelimiterFinder
from services.system_api.sources.file.parsing.identity import FileIdentity
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import Format, Parser
from services.system_api.sources.file.parsing.text_lines import FixedWidthLines, PatternLines
from services.system_api.sources.source import EventBuilder
from shared.runtime.clock import Clock
from shared.runtime.extras import extra

logger = logging.getLogger(__name__)


def line_formats(source: str, options: FileSourceOptions) -> Callable[[], Format]:
    """Return what makes the `line_format` of each file of a source; lines without a header share one."""
    if options.known_format != "ndjson":
        return partial(line_format, options, delimiter_finder(source, options))
    shared = line_format(options)
    return lambda: shared


def delimiter_finder(source: str, options: FileSourceOptions) -> DelimiterFinder | None:
    """Return what finds the delimiters of the files of a source; None where the settings name it."""
    csv = options.csv
    if options.known_format != "csv" or options.csv_delimiter:
        return None
    encoding = options.encoding if options.reads_encoding_by_line else "utf-8"
    named = (options.subject, options.time, *csv.types) if csv.columns is None else ()
    names = {name.encode(encoding, errors="ignore") for name in named if name is not None}

    def found(delimiter: str, row: str) -> None:
        fields = {"component": "source", "source": source, "delimiter": delimiter, "row": row}
        logger.info("found csv delimiter", extra=fields)

    return DelimiterFinder(
        names - {b""},
        None if csv.columns is None else len(csv.columns),
        pad=csv.ragged == "pad" and not csv.header,
        quote=csv.quote.encode(),
        escape=(csv.escape or "").encode(),
        found=found,
    )


def line_format(options: FileSourceOptions, finder: DelimiterFinder | None = None) -> Format:
    """Return what reads the lines or rows of one file."""
    subject, time, skip = options.subject, options.time, options.skip_lines
    match options.known_format:
        case "csv":
            csv = options.csv
            return Csv(
                subject,
                time,
                delimiter=options.csv_delimiter,
                quotes=csv.quotes,
                header=csv.header,
                columns=csv.columns,
                types=csv.types,
                quote=csv.quote,
                escape=csv.escape or "",
                nulls=csv.nulls,
                decimal=csv.decimal,
                pad=csv.ragged == "pad",
                skip_lines=skip,
                whole=options.mode == "drop",
                find=finder,
            )
        case "text":
            assert options.text is not None, "the options require it"
            return PatternLines(options.text.pattern, subject, time, options.text.types, skip_lines=skip)
        case "fixed":
            assert options.fixed is not None, "the options require it"
            return FixedWidthLines(options.fixed.places, subject, time, options.fixed.types, skip_lines=skip)
        case _:
            return Ndjson(subject, time)


OpenRecords = Callable[[Content, int, int], Records]
"""Opens the records of a part of a content, for reading from a number on."""


@dataclass(frozen=True)
class DocumentMaker:
    """Makes the readers of documents; see `MakeDocument`."""

    source: str
    options: FileSourceOptions
    open_records: OpenRecords | None
    """None for files of lines."""
    builder: EventBuilder
    clock: Clock

    def __call__(self, file_id: str, path: str, file: BinaryIO, place: tuple[int, int, int]) -> DocumentReader:
        """Make the reader of one file.

        Raises:
            UnreadableDocument: the file cannot be opened as a document.
        """
        options = self.options
        encoding = options.encoding if self._transcoded else None
        content = Content(file, options.known_compression, members=options.zip.members, encoding=encoding)

        def make(content: Content, part: int, name: str, position: int, line: int) -> PartReader:
            # Positions of two parts are equal, so that the part belongs to the id.
            of_part = f"{file_id}.{part}" if name else file_id
            identity = FileIdentity(self.source, of_part, f"{path}/{name}" if name else path, options.origin)
            return self._part(content, part, identity, position, line)

        number, position, line = place
        return DocumentReader(content, make, part=number, position=position, line=line)

    @cached_property
    def _finder(self) -> DelimiterFinder | None:
        return delimiter_finder(self.source, self.options)

    @property
    def _transcoded(self) -> bool:
        """Whether the content as a whole is transcoded, and not line by line."""
        options = self.options
        if options.known_format in LINE_FORMATS:
            return not options.reads_encoding_by_line
        return options.encoding != "utf-8"

    def _part(self, content: Content, part: int, identity: FileIdentity, position: int, line: int) -> PartReader:
        options = self.options
        if self.open_records is None:
            return LineReader(content.open(part), self._parser(identity), position, line, self.clock)
        form = Ndjson(options.subject, options.time)
        return RecordReader(
            self.open_records(content, part, position),
            form,
            self.builder,
            identity,
            options.line_limit,
            position,
            self.clock,
        )

    def _parser(self, identity: FileIdentity) -> Callable[[int, int], Parser]:
        encoding = "utf-8" if self._transcoded else self.options.encoding

        def make(offset: int, line: int) -> Parser:
            return Parser(
                line_format(self.options, self._finder),
                self.builder,
                identity,
                self.options.line_limit,
                offset=offset,
                line=line,
                whole=True,
                encoding=encoding,
            )

        return make


def record_opener(options: FileSourceOptions) -> OpenRecords | None:
    """Return what opens the records of a document; None for files of lines.

    Raises:
        SettingsError: a package is not installed; the text names the extra.
    """
    kind, limit = options.known_format, options.line_limit
    path = (options.records or "").strip("/").replace("/", ".").split(".") if options.records else ()
    with extra("files", f"format: {kind}"):
        match kind:
            case "ndjson" | "csv" | "text" | "fixed":
                return None
            case "json":
                return lambda content, part, _start: read_json(content.open(part), path, limit)
            case "xml":
                from services.system_api.sources.file.documents.xml_records import read_xml  # noqa: PLC0415

                encoding = None if options.encoding == "utf-8" else "utf-8"  # transcoded
                lists = options.xml.lists
                return lambda content, part, _start: read_xml(content.open(part), path, limit, lists, encoding)
            case "parquet":
                from services.system_api.sources.file.documents.parquet import read_parquet  # noqa: PLC0415

                return lambda content, _part, start: read_parquet(content.file, start)
            case "avro":
                from services.system_api.sources.file.documents.avro import read_avro  # noqa: PLC0415

                return lambda content, part, start: read_avro(content.open(part), start)
            case "excel":
                from services.system_api.sources.file.documents.excel import read_excel  # noqa: PLC0415

                sheet, skip = options.excel.sheet, options.excel.skip_rows
                return lambda content, _part, _start: read_excel(content.file, sheet, skip)
            case _:
                assert_never(kind)
