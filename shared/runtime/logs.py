"""Logs: one line an event, in JSON for machines or as text for a terminal, without secrets, and not to be forged.

Fields are given by `extra`: `logger.info("file finished", extra={"source": "orders", "rows": 12})`.
"""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from pydantic import Field

from shared.runtime.redaction import one_line, redact, redact_field
from shared.settings import Options

Level = Literal["debug", "info", "warning", "error", "critical"]

_LIMIT = 16_384
"""Characters of one text in a line: a reader's parser, and the reader, have bounds of their own."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LogOptions(Options):
    """How logs are written, to standard error."""

    format: Literal["json", "text"] = "json"
    """`json` is one object a line; `text` is for people at a terminal."""

    level: Level = "info"
    """The least that is written."""

    loggers: dict[str, Level] = Field(default_factory=dict)
    """Other levels for parts, by the name that their lines show, e.g. `shared.bus: debug`."""


def configure(options: LogOptions, stream: TextIO | None = None) -> None:
    """Set up logging for the process: what was set up before is replaced. Writes to standard error by default."""
    handler = _Lines(stream or sys.stderr, options)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, _Lines):
            old.forget_levels()
    root.addHandler(handler)
    root.setLevel(options.level.upper())
    for name, level in options.loggers.items():
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(capture=True)


class _Lines(logging.StreamHandler[TextIO]):
    """Writes as the options say, and knows which loggers have a level of their own by them."""

    def __init__(self, stream: TextIO, options: LogOptions) -> None:
        super().__init__(stream)
        self.setFormatter(JsonLines() if options.format == "json" else TextLines())
        self._levelled = list(options.loggers)

    def forget_levels(self) -> None:
        for name in self._levelled:
            logging.getLogger(name).setLevel(logging.NOTSET)


class JsonLines(logging.Formatter):
    """One JSON object: `time`, `level`, `logger`, `message`, the named fields, and `error` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _clean(record.getMessage()),
        }
        for name, value in _fields(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["error"] = _clean(_traceback(record))
        # JSON escapes what ends a line, but for the few characters beyond ASCII that end one for some readers.
        return json.dumps(line, ensure_ascii=False, default=str).translate(_JSON_ESCAPES)


class TextLines(logging.Formatter):
    """`time LEVEL logger: message name=value`, and below it the traceback, each line of it marked."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the lines of a traceback."""
        message = one_line(_clean(record.getMessage()))
        fields = "".join(f" {name}={_short(value)}" for name, value in _fields(record).items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {message}{fields}"
        if record.exc_info:
            # The mark tells these lines, which may hold a stranger's text, from lines of the log.
            line += "".join(f"\n  | {one_line(part)}" for part in _clean(_traceback(record)).splitlines())
        return line


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: redact_field(name, value) for name, value in record.__dict__.items() if name not in _STANDARD}


def _traceback(record: logging.LogRecord) -> str:
    assert record.exc_info, "asked for by the caller"
    return "".join(traceback.format_exception(*record.exc_info)).rstrip()


def _clean(text: str) -> str:
    # Cut generously first, so that a giant costs little; then strike out; then cut for good, never through a secret.
    text = redact(text[: 4 * _LIMIT])
    return text if len(text) <= _LIMIT else f"{text[:_LIMIT]}… ({len(text)} characters)"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = one_line(text[:_LIMIT])
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text


_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(127, 160), 0x2028, 0x2029)}
