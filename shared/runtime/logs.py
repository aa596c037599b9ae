"""Logs: one line an event, as JSON for machines or as text for a terminal, without secrets, and safe from forgery.

A message is constant; what varies is a field: `logger.info("file finished", extra={"source": "orders", "rows": 12})`.
Every line has `service`, `version` and `node`, and `trace_id` while a task works on a trace: OpenTelemetry's
`service.name`, `service.version`, `service.instance.id` and `trace_id`; and `span_id` while it works on a span of
OpenTelemetry. A field cannot replace one of these.
"""

import json
import logging
import math
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

from pydantic import Field

from shared.runtime.identity import Identity
from shared.runtime.redaction import one_line, redact, redact_field
from shared.runtime.trace import current_span, current_trace_id
from shared.settings import Options

Level = Literal["debug", "info", "warning", "error", "critical"]

_LIMIT = 16_384
"""Characters of one text in a line: log collectors cut or drop longer lines."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


class LogOptions(Options):
    """How logs are written, to standard error."""

    format: Literal["json", "text"] = "json"
    """`json` writes one object a line; `text` is for reading at a terminal."""

    level: Level = "info"
    """The lowest level that is written."""

    loggers: dict[str, Level] = Field(default_factory=dict)
    """Other levels for parts of the code, by the logger's name as the lines show it, e.g. `shared.bus: debug`."""


def configure(options: LogOptions, identity: Identity, stream: TextIO | None = None) -> None:
    """Set up logging for the process, in place of any earlier setup. Writes to standard error by default."""
    handler = _Lines(stream or sys.stderr, options, identity)
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, Forwarder):
            continue
        root.removeHandler(old)
        if isinstance(old, _Lines):
            old.forget_levels()
    root.addHandler(handler)
    root.setLevel(options.level.upper())
    for name, level in options.loggers.items():
        logging.getLogger(name).setLevel(level.upper())
    logging.captureWarnings(capture=True)


class LineLimit:
    """Lets one line a second pass, and counts: for what strangers can cause as often as they like."""

    def __init__(self, interval: float = 1.0) -> None:
        """`interval` is the least seconds between two lines."""
        self._interval = interval
        self._logged_at = -math.inf
        self._count = 0

    def passed(self, now: float) -> int:
        """Count one more; return how many there were since the last line if there may be one now, else 0."""
        self._count += 1
        if now - self._logged_at < self._interval:
            return 0
        count, self._count, self._logged_at = self._count, 0, now
        return count


class Forwarder(logging.Handler):
    """Takes lines beside those that are written; `configure` leaves it in place."""


class _Lines(logging.StreamHandler[TextIO]):
    """Writes in the format of the options, and remembers which loggers they gave a level."""

    def __init__(self, stream: TextIO, options: LogOptions, identity: Identity) -> None:
        super().__init__(stream)
        self.setFormatter(JsonLines(identity) if options.format == "json" else TextLines(identity))
        self._levelled = list(options.loggers)

    def forget_levels(self) -> None:
        for name in self._levelled:
            logging.getLogger(name).setLevel(logging.NOTSET)


class JsonLines(logging.Formatter):
    """One JSON object: the standard members, the fields, and `exception` with the traceback where there is one."""

    def __init__(self, identity: Identity) -> None:
        super().__init__()
        self._identity = identity

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            **_context(self._identity),
            "logger": record.name,
            "message": message_of(record),
        }
        for name, value in fields_of(record).items():
            line.setdefault(name, value)
        if record.exc_info:
            line["exception"] = traceback_of(record)
        # JSON escapes what ends a line, but for the few characters beyond ASCII that end one for some readers.
        return json.dumps(line, ensure_ascii=False, default=str).translate(_JSON_ESCAPES)


class TextLines(logging.Formatter):
    """`time LEVEL logger: message name=value …`, and below it the traceback, each line of it marked."""

    def __init__(self, identity: Identity) -> None:
        super().__init__()
        self._identity = identity

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the lines of a traceback."""
        message = one_line(message_of(record))
        context = _context(self._identity)
        named = {name: value for name, value in fields_of(record).items() if name not in context} | context
        fields = "".join(f" {name}={_short(value)}" for name, value in named.items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {message}{fields}"
        if record.exc_info:
            # The mark distinguishes these lines, which may hold text from outside, from lines of the log.
            line += "".join(f"\n  | {one_line(part)}" for part in traceback_of(record).splitlines())
        return line


def _context(identity: Identity) -> dict[str, str]:
    context = {"service": identity.service, "version": identity.version, "node": identity.node}
    if (span := current_span()) is not None:
        return {**context, "trace_id": span.trace_id, "span_id": span.span_id}
    trace_id = current_trace_id()
    return context if trace_id is None else {**context, "trace_id": trace_id}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_of(record: logging.LogRecord) -> str:
    """Return the message, without secrets."""
    return _clean(record.getMessage())


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a line, without secrets."""
    return {name: redact_field(name, value) for name, value in record.__dict__.items() if name not in _STANDARD}


def traceback_of(record: logging.LogRecord) -> str:
    """Return the traceback of a line that has one, without secrets."""
    assert record.exc_info, "the caller checks"
    return _clean("".join(traceback.format_exception(*record.exc_info)).rstrip())


def _clean(text: str) -> str:
    # Cut to four times the limit first, so that a huge text costs little; then redact; then cut to the limit, which
    # therefore never cuts through a secret that redaction would have found.
    text = redact(text[: 4 * _LIMIT])
    return text if len(text) <= _LIMIT else f"{text[:_LIMIT]}… ({len(text)} characters)"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = one_line(text[:_LIMIT])
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or '"' in text else text


_JSON_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(127, 160), 0x2028, 0x2029)}
