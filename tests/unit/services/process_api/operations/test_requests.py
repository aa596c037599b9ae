"""What operators ask, as records of a topic."""

import pytest

from services.process_api.operations.requests import (
    Asked,
    Control,
    Reload,
    Rewind,
    control_key,
    encode,
    reload_key,
    rewind_key,
    starts_key,
)
from services.process_api.operations.starts import Starts

REWIND = Rewind("r1", "epoch", {0: 10, 2: 0}, '"beginning"', reset_state=False, by="alice", at=1.0)


def asked(**controls: Control) -> Asked:
    found = Asked()
    for name, control in controls.items():
        found.take(control_key(name), encode(control))
    found.take(rewind_key("orders"), encode(REWIND))
    return found


def test_the_newest_control_decides_what_is_paused() -> None:
    found = asked(orders=Control(paused=True, by="alice"), totals=Control())
    assert found.paused == {"orders"}
    found.take(control_key("orders"), encode(Control()))
    assert found.paused == set()


def test_one_more_record_changes_a_copy() -> None:
    found = asked()
    more = found.with_record(control_key("orders"), encode(Control(paused=True)))
    assert (more.paused, more.rewinds, found.paused) == ({"orders"}, found.rewinds, set())


def test_a_partition_carries_a_rewind_out_once_and_only_where_it_is_asked_for() -> None:
    found, starts = asked(), Starts("epoch")
    assert list(found.pending(["orders", "totals"], 0, starts)) == [("orders", REWIND)]
    assert list(found.pending(["totals"], 0, starts)) == []
    assert list(found.pending(["orders"], 1, starts)) == [], "another partition"
    assert list(found.pending(["orders"], 0, Starts("another"))) == [], "offsets of another topic"
    _, after = starts.rewound("orders", 20, 10, "r1")
    assert list(found.pending(["orders"], 0, after)) == []
    assert found.progress("orders") == {"0": "pending", "2": "pending"}
    found.take(starts_key(0), encode(after))
    assert found.starts(0, "epoch") == after
    assert found.starts(0, "another") == Starts("another")
    assert found.progress("orders") == {"0": "done", "2": "pending"}


def test_records_of_others_are_ignored() -> None:
    found = Asked()
    found.take(reload_key(), encode(Reload("1", "a")))
    assert found.reload == Reload("1", "a")
    for key in (b"", b"marker", b"pipelines", b"pipelines/later/orders", b"sources/control/orders"):
        found.take(key, b"\xff")
    assert (found.controls, found.rewinds) == ({}, {})


@pytest.mark.parametrize("key", [control_key("a"), rewind_key("a"), starts_key(1), b"pipelines/starts/x"])
def test_an_unreadable_record_is_an_error(key: bytes) -> None:
    with pytest.raises(ValueError):
        Asked().take(key, b"[")
