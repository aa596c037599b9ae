import io
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.runtime.identity import Identity
from shared.runtime.logs import JsonLines, LineLimit, LogOptions, TextLines, configure
from shared.runtime.trace import traced

IDENTITY = Identity("system_api", "replica-1", "1.2.3")
CONTEXT = {"service": "system_api", "version": "1.2.3", "node": "replica-1"}
HOSTILE = 'demo"\n{"level":"critical","message":"forged"}\r\x1b[31m\u2028x'


def record(message: str, *args: object, error: BaseException | None = None, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord(
        "shared.http.server", logging.WARNING, __file__, 1, message, args, (type(error), error, None) if error else None
    )
    made.created = 1_767_323_045.678
    made.__dict__.update(fields)
    return made


def line(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonLines(IDENTITY).format(made)
    assert len(text.splitlines()) == 1
    parsed = json.loads(text)
    assert isinstance(parsed, dict)
    return parsed


def test_a_line_is_one_object_with_its_fields() -> None:
    assert line(record("read %d rows", 3, source="orders", rows=3)) == {
        "time": "2026-01-02T03:04:05.678Z",
        "level": "warning",
        **CONTEXT,
        "logger": "shared.http.server",
        "message": "read 3 rows",
        "source": "orders",
        "rows": 3,
    }


def test_text_is_for_people() -> None:
    text = TextLines(IDENTITY).format(record("read %d rows", 3, source="my orders", rows=3, empty=""))
    assert text == (
        '2026-01-02T03:04:05.678Z WARNING shared.http.server: read 3 rows source="my orders" rows=3 empty=""'
        " service=system_api version=1.2.3 node=replica-1"
    )


def test_a_field_cannot_take_the_place_of_a_standard_one() -> None:
    made = record("true", level="debug", time="never", node="forged")
    assert line(made)["level"] == "warning"
    assert line(made)["node"] == "replica-1"
    assert TextLines(IDENTITY).format(made).count("node=") == 1


def test_a_line_about_a_trace_has_its_id() -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    with traced(f"00-{trace_id}-00f067aa0ba902b7-01"):
        assert line(record("pushed")) | CONTEXT | {"trace_id": trace_id} == line(record("pushed"))
        assert TextLines(IDENTITY).format(record("pushed")).endswith(f" node=replica-1 trace_id={trace_id}")
    assert "trace_id" not in line(record("pushed"))


def test_an_error_comes_with_its_traceback() -> None:
    made = record("failed", error=ValueError("first\nsecond"))
    assert line(made)["exception"] == "ValueError: first\nsecond"
    assert TextLines(IDENTITY).format(made).splitlines()[1:] == ["  | ValueError: first", "  | second"]


@pytest.mark.parametrize("form", [JsonLines(IDENTITY), TextLines(IDENTITY)])
def test_a_stranger_cannot_forge_a_line_or_command_a_terminal(form: logging.Formatter) -> None:
    for made in (
        record("client %s", HOSTILE),
        record("client", client=HOSTILE),
        record("x", client={HOSTILE: HOSTILE}),
    ):
        text = form.format(made)
        assert len(text.splitlines()) == 1
        assert "\x1b" not in text
    lines = TextLines(IDENTITY).format(record("x", error=ValueError(HOSTILE))).splitlines()
    assert all(line.startswith("  | ") for line in lines[1:])


@pytest.mark.parametrize("form", [JsonLines(IDENTITY), TextLines(IDENTITY)])
def test_secrets_are_struck_out_wherever_they_are(form: logging.Formatter) -> None:
    made = record(
        "connecting to %s",
        "postgresql://u:hunter2@db",
        error=ValueError("password=hunter2"),
        token="hunter2",
        headers={"authorization": "Bearer hunter2"},
    )
    assert "hunter2" not in form.format(made)


def test_a_giant_is_cut_and_not_through_a_secret() -> None:
    token = "eyJ" + "a" * 20_000 + ".b.c"
    message = line(record(f"{'x' * 16_380} {token} {'y' * 100_000}"))["message"]
    assert len(message) < 17_000
    assert "eyJ" not in message


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("shared.bus").setLevel(logging.NOTSET)
    logging.captureWarnings(capture=False)


@pytest.mark.usefixtures("_logging_restored")
def test_levels_by_part_and_warnings_too() -> None:
    stream = io.StringIO()
    configure(LogOptions(level="warning", loggers={"shared.bus": "debug"}), IDENTITY, stream)
    logging.getLogger("shared.http.server").info("not written")
    logging.getLogger("shared.bus.kafka").debug("written")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    written = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert [(found["logger"], found["level"]) for found in written] == [
        ("shared.bus.kafka", "debug"),
        ("py.warnings", "warning"),
    ]


@pytest.mark.usefixtures("_logging_restored")
def test_writes_to_standard_error_and_replaces_what_was_there(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogOptions(), IDENTITY, sys.stderr)
    configure(LogOptions(format="text"), IDENTITY)
    logging.getLogger("x").error("once")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith("ERROR   x: once service=system_api version=1.2.3 node=replica-1\n")
    assert captured.err.count("once") == 1


@pytest.mark.usefixtures("_logging_restored")
def test_a_level_of_a_part_is_replaced_too() -> None:
    stream = io.StringIO()
    configure(LogOptions(level="warning", loggers={"shared.bus": "error"}), IDENTITY, stream)
    configure(LogOptions(level="info"), IDENTITY, stream)
    logging.getLogger("shared.bus").info("written")
    assert "written" in stream.getvalue()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(message=st.text(), value=st.recursive(st.none() | st.text() | st.integers() | st.floats(), st.lists))
def test_every_log_record_is_one_line_of_json(message: str, value: object) -> None:
    assert line(record("%s", message, value=value))["level"] == "warning"


def test_of_many_lines_one_a_second_passes_and_none_is_not_counted() -> None:
    limit = LineLimit()
    assert [limit.passed(now) for now in (0.0, 0.5, 0.9, 1.0, 1.5, 9.0)] == [1, 0, 0, 3, 0, 2]
