"""Connects the settings of a format to the code that reads it."""

from collections.abc import Callable
from dataclasses import dataclass
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
from services.system_api.sources.file.parsing.ndjson import Ndjson
from services.system_api.sources.file.parsing.parser import FileIdentity, Format, Parser
from services.system_api.sources.source import EventBuilder
from shared.runtime.clock import Clock


def line_format(options: FileSourceOptions) -> Format:
    """Return what reads the lines or rows of one file."""
    if options.known_format == "ndjson":
        return Ndjson(options.subject, options.time)
    csv = options.csv
    return Csv(
        options.subject,
        options.time,
        delimiter=csv.delimiter,
        quotes=csv.quotes,
        header=csv.header,
        columns=csv.columns,
        types=csv.types,
    )


@dataclass(frozen=True, slots=True)
class DocumentMaker:
    """Makes the readers of documents; see `MakeDocument`."""

    source: str
    options: FileSourceOptions
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
            identity = FileIdentity(self.source, of_part, f"{path}/{name}" if name else path)
            return self._part(content, part, identity, position, line)

        number, position, line = place
        return DocumentReader(content, make, part=number, position=position, line=line)

    @property
    def _transcoded(self) -> bool:
        """Whether the content as a whole is transcoded, and not line by line."""
        options = self.options
        if options.known_format in LINE_FORMATS:
            return not options.reads_encoding_by_line
        return options.encoding != "utf-8"

    def _part(self, content: Content, part: int, identity: FileIdentity, position: int, line: int) -> PartReader:
        options = self.options
        if options.known_format in LINE_FORMATS:
            return LineReader(content.open(part), self._parser(identity), position, line, self.clock)
        form = Ndjson(options.subject, options.time)
        return RecordReader(
            self._records(content, part), form, self.builder, identity, options.line_limit, position, self.clock
        )

    def _parser(self, identity: FileIdentity) -> Callable[[int, int], Parser]:
        encoding = "utf-8" if self._transcoded else self.options.encoding

        def make(offset: int, line: int) -> Parser:
            return Parser(
                line_format(self.options),
                self.builder,
                identity,
                self.options.line_limit,
                offset=offset,
                line=line,
                whole=True,
                encoding=encoding,
            )

        return make

    def _records(self, content: Content, part: int) -> Records:
        options = self.options
        match options.known_format:
            case "json":
                path = options.records.split(".") if options.records else ()
                return read_json(content.open(part), path, options.line_limit)
            case "ndjson" | "csv":
                raise AssertionError("files of lines have no records")
            case _:
                assert_never(options.known_format)
