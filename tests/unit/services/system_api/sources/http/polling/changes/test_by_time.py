"""Records by the time of their last change."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.system_api.sources.http.polling.changes.by_time import ByTime
from services.system_api.sources.http.polling.options import ByTimeOptions
from shared.errors import Malformed, SettingsError
from shared.runtime.clock import SystemClock
from tests.unit.services.system_api.sources.http.polling.changes.making import record


class Clock(SystemClock):
    def time(self) -> float:
        return 1000.0


def made(checkpoint: dict[str, bytes] | None = None, **options: Any) -> ByTime:
    given = ByTimeOptions.model_validate(
        {"kind": "time", "overlap": 10, "parameter": "since", "format": "unix"} | options
    )
    return ByTime(given, checkpoint or {}, Clock())


def test_it_begins_now_at_a_time_or_with_the_oldest_record() -> None:
    assert made().query() == {}
    assert made(start="now").query() == {"since": "990"}
    assert made(start="1970-01-01T00:01:00Z").query() == {"since": "60"}


def test_a_record_without_a_time_is_refused() -> None:
    with pytest.raises(Malformed, match="time: the expression gives nothing"):
        made().take(record("a"))


def test_a_record_below_the_floor_was_published() -> None:
    changes = made(start="1970-01-01T00:01:00Z")
    assert changes.take(record("a", 59)) is None
    assert changes.take(record("a", 60)) == "a@60000000.v"
    assert changes.deletions(5) == []


def test_the_checkpoints_of_places() -> None:
    changes = made()
    changes.take(record("a", 100))
    changes.finish(complete=True)
    assert set(changes.checkpoint()) == {"", "records/0"}
    beginning, later = changes.checkpoint_at("beginning"), changes.checkpoint_at(datetime(1970, 1, 1, 0, 2, tzinfo=UTC))
    assert json.loads(beginning[""]) == {"mode": "time", "floor": None, "greatest": None}
    assert made(later).query() == {"since": "120"}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b'{"mode":"snapshot","poll":1}', "the checkpoint is of changes.kind: snapshot; found time in the settings"),
        (b'{"offset":5}', "not of a source of the kind http"),
        (b'{"mode":"time","floor":"x"}', "not of a source of the kind http"),
        (b"5", "not of a source of the kind http"),
    ],
)
def test_a_checkpoint_of_another_kind_is_refused(value: bytes, error: str) -> None:
    with pytest.raises(SettingsError) as caught:
        made({"": value})
    assert error in str(caught.value)


def test_a_snapshot_reads_from_the_start_of_the_settings() -> None:
    changes = made(start="1970-01-01T00:01:00Z", overlap=0)
    for name, at in (("a", 60), ("b", 200), ("c", 300)):
        changes.take(record(name, at))
    changes.finish(complete=True)
    assert changes.query() == {"since": "300"}
    changes.begin_snapshot()
    opened = made(changes.checkpoint(), start="1970-01-01T00:01:00Z", overlap=0)  # a crash does not end it
    assert opened.query() == {"since": "60"}
    assert opened.take(record("z", 59)) is None
    assert opened.take(record("a", 60)) == "a@60000000.v"
    assert opened.take(record("c", 300)) == "c@300000000.v"
    assert opened.take(record("c", 200)) is None, "a server that lags behind"
    assert opened.take(record("d", 400)) == "d@400000000.v"
    opened.finish(complete=True)
    assert opened.query() == {"since": "400"}
    assert opened.take(record("a", 60)) is None


def test_there_is_no_cursor_that_an_api_could_forget() -> None:
    changes = made()
    assert changes.cursor is None
    assert not changes.begin_again()


@pytest.mark.parametrize("api", [400.0, 1600.0])
def test_now_is_a_time_of_the_api(api: float) -> None:
    changes = made(start="now")
    assert changes.note_time(api)
    assert changes.query() == {"since": str(int(api) - 10)}
    assert changes.take(record("a", int(api) - 10)) is not None
    assert changes.take(record("b", int(api) - 11)) is None
    assert not changes.note_time(2000.0), "it has started"
    saved = changes.checkpoint()
    again = made(saved, start="now")
    assert not again.note_time(2000.0)
    assert again.query() == {"since": str(int(api) - 10)}


@pytest.mark.parametrize("api", [None, -90_000.0, 1000.0])
def test_without_a_time_of_the_api_now_is_that_of_this_machine(api: float | None) -> None:
    changes = made(start="now")
    assert not changes.note_time(api)
    assert changes.query() == {"since": "990"}


def test_only_now_depends_on_the_clock_of_the_api() -> None:
    for start in (None, "1970-01-01T00:01:00Z"):
        changes = made(start=start)
        before = changes.query()
        assert not changes.note_time(400.0)
        assert changes.query() == before


def test_a_list_that_is_read_whole_is_not_requested_again() -> None:
    changes = made(start="now", parameter=None)
    assert not changes.note_time(400.0)
    assert changes.take(record("a", 391)) is not None
    assert changes.take(record("b", 389)) is None
