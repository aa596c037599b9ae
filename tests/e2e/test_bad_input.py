"""Bad input: each gets an error that names its place, nothing else stops, and nothing is lost."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.standalone.embedded.postgres import PostgresOptions, PostgresServer
from services.standalone.embedded.process import free_port
from tests.e2e.bad_input import BINARY, DEAD, HUGE, KEYLESS, MALFORMED, WRONG_PASSWORD, Observed, give_bad_input
from tests.servers.missing import skipping_without

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Observed]:
    """All of it at once, given to one process on a PostgreSQL that wants passwords; the tests look at what came."""
    folder = tmp_path_factory.mktemp("bad-input")
    with skipping_without("PostgreSQL", request.config):
        server = PostgresServer(PostgresOptions(folder / "postgres", durable=False))
        try:
            server.start()
            yield asyncio.run(give_bad_input(folder, server.dsn(), server.port))
        finally:
            server.stop()


def test_everything_else_went_on(observed: Observed) -> None:
    assert observed.of("good") == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert [line["number"] for line in observed.of("lines")] == [1, 2, 3]
    assert [row["sku"] for row in observed.of("rows")] == ["1", "5"]
    assert [row["name"] for row in observed.of("people")] == ["Ada", "Grace"]
    assert {event["half"] for event in observed.of("raw")} == {0.5, 2.5}
    assert len(observed.events) == 13
    assert observed.readyz["ready"] is True
    assert observed.status == 0


def test_nothing_is_dead_lettered_twice_or_without_need(observed: Observed) -> None:
    assert len(observed.dead) == DEAD, observed.dead


@pytest.mark.parametrize(
    ("value", "line", "said"),
    [
        (MALFORMED, 2, "bytes 29-49: JSON is malformed: expected '\"' (byte 16)"),
        (KEYLESS, 3, "bytes 51-63: member 'sensor': the subject is missing, null or empty"),
        (BINARY, 6, "found a NUL byte at its byte 0; expected text"),
    ],
    ids=["malformed", "without its subject", "binary"],
)
def test_a_line_is_dead_lettered_unaltered(observed: Observed, value: bytes, line: int, said: str) -> None:
    letter = observed.dead_letter_of(value)
    path = observed.folder / "lines.ndjson"
    assert letter.stage == "source"
    assert letter.origin == f"lines:{path}:{line}"
    assert letter.error.startswith(f"{path}, line {line}, bytes ")
    assert letter.error.endswith(said)


def test_the_beginning_of_a_line_of_2_mib_is_dead_lettered(observed: Observed) -> None:
    (letter,) = [letter for letter in observed.dead if letter.origin.endswith("lines.ndjson:5")]
    assert letter.value == HUGE[:65_536]
    assert f"line 5, bytes 94-{93 + len(HUGE)}: found a line of {len(HUGE)} bytes, the limit is 1048576" in letter.error


@pytest.mark.parametrize(
    ("value", "line", "said"),
    [
        (b"2,too few", 3, "found 2 fields; expected 3"),
        (b"3,tea,many", 4, "column 'on_hand': found 'many'; expected an integer"),
        (b"4," + BINARY + b",1", 5, "found a NUL byte at its byte 2; expected text"),
    ],
    ids=["too few fields", "no integer", "binary"],
)
def test_a_row_of_a_csv_file_is_dead_lettered_unaltered(observed: Observed, value: bytes, line: int, said: str) -> None:
    letter = observed.dead_letter_of(value)
    path = observed.folder / "drop" / "stock.csv"
    assert letter.origin == f"rows:{path}:{line}"
    assert letter.error.startswith(f"{path}, line {line}, bytes ")
    assert letter.error.endswith(said)
    assert path.exists()


def test_a_row_with_a_null_key_is_dead_lettered(observed: Observed) -> None:
    letter = observed.dead_letter_of(b'{"id":null,"name":"Nobody"}')
    assert letter.error == "people, row without key or time: column 'id' is NULL"
    assert letter.origin.startswith("people:people:")


def test_a_row_with_a_null_subject_is_dead_lettered(observed: Observed) -> None:
    letter = observed.dead_letter_of(b'{"id":3,"name":null}')
    assert letter.error == "people, key 3: column 'name' is NULL"
    assert letter.origin == "people:people:key 3"


@pytest.mark.parametrize(
    ("entity", "said"),
    [
        (2, "the event has no channel"),
        (3, "steps.0.map: the expression failed: T2001: The left side of the / operator must evaluate to a number"),
        (4, "steps.1.route: channel 'no channel!': expected dotted words"),
    ],
    ids=["without a channel", "an expression that fails", "no name of a channel"],
)
def test_an_event_that_its_pipeline_refuses_is_dead_lettered_unaltered(
    observed: Observed, entity: int, said: str
) -> None:
    subjects = {
        json.loads(letter.value)["data"]["id"]: letter for letter in observed.dead if letter.stage == "pipeline"
    }
    letter = subjects[entity]
    assert said in letter.error
    assert letter.origin.startswith("bad.ingest/")
    assert json.loads(letter.value)["source"] == "/sources/raw"


def test_sources_that_cannot_be_reached_say_where_and_why(observed: Observed) -> None:
    notes = observed.readyz["notes"]
    missing = observed.folder / "not-yet"
    expected = {
        "down": f"database 127.0.0.1:{observed.closed_port}/shop, table orders: connection refused",
        "refused": f"database 127.0.0.1:{observed.port}/trelay, table people: password authentication failed for user",
        "late": f"folder {missing}: No such file or directory",
    }
    assert notes.keys() == {f"source/{name}" for name in expected}
    for name, said in expected.items():
        assert said in notes[f"source/{name}"]
        assert said in observed.sources[name]["error"]
        logged = f"source down; probing component=source source={name} "
        (line,) = [line for line in observed.log.splitlines() if logged in line]
        assert said in line


def test_a_file_that_was_missing_is_read_when_it_comes(observed: Observed) -> None:
    assert observed.of("late") == [{"n": 1}]


@pytest.mark.parametrize(
    ("asked", "status", "detail"),
    [
        ("secret", 401, "The client id and secret were not accepted"),
        ("token", 401, "The token is not valid: register again"),
        ("huge", 413, "the body exceeds the limit of 1048576 bytes"),
        ("binary", 400, "the body is not JSON"),
        ("not gzip", 400, "the body cannot be decompressed (gzip)"),
        ("no channel", 400, "attribute 'channel': missing"),
    ],
)
def test_a_response_names_what_is_wrong_with_the_request(
    observed: Observed, asked: str, status: int, detail: str
) -> None:
    answer = observed.answers[asked]
    assert answer.status == status
    assert detail in answer.detail


def test_no_secret_and_no_traceback_is_in_the_log(observed: Observed) -> None:
    assert "Traceback" not in observed.log
    assert WRONG_PASSWORD not in observed.log
    assert WRONG_PASSWORD not in json.dumps([observed.readyz, observed.sources])


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("system_api", "system:\n  sorces: {}\n", "2:3: system.sorces: unknown key 'sorces'; did you mean 'sources'?"),
        (
            "process_api",
            "process:\n  pipelines:\n    p:\n      sources: [a]\n      steps:\n        - filter: 'amount >'\n",
            "6:11: process.pipelines.p.steps.0.filter: the expression does not compile: ",
        ),
        ("experience_api", "experience:\n  listen: {port: many}\n", "2:12: experience.listen.port: expected a whole"),
        ("experience_api", None, " the settings file cannot be read: No such file or directory"),
    ],
    ids=["unknown key", "expression", "no number", "no file"],
)
def test_a_fault_in_the_settings_is_one_line(tmp_path: Path, module: str, text: str | None, said: str) -> None:
    path = tmp_path / "trelay.yaml"
    if text is not None:
        path.write_text(text)
    command = [sys.executable, "-m", f"services.{module}", "--config", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"{path}:{said}")
    assert ended.stderr.count("\n") == 1


def test_one_process_names_what_prevents_its_start_in_one_line(tmp_path: Path) -> None:
    path, port = tmp_path / "trelay.yaml", free_port()
    path.write_text(f"database: {{url: 'postgresql://trelay@127.0.0.1:{port}/trelay'}}\n")
    for arguments, said in (
        (["--config", str(path), "--data", str(tmp_path / "var")], f"database 127.0.0.1:{port}/trelay: connection ref"),
        (["--data", str(path)], f"{path} cannot be written to: Not a directory"),
    ):
        command = [sys.executable, "-m", "services.standalone", "--port", "0", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert said in ended.stderr
        assert ended.stderr.count("\n") == 1
