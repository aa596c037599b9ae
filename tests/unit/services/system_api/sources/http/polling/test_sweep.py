"""A list that changes while its pages are read, with crashes: every record is published once in its last version."""

import itertools
from typing import Any

import pytest

from shared.errors import Malformed, TrelayError
from tests.unit.services.system_api.sources.http.polling.simulation import Simulation, published

PAGINATIONS: list[dict[str, Any]] = [{"kind": "page"}, {"kind": "offset", "overlap": 2}]
CHANGES: list[dict[str, Any]] = [
    {"kind": "time", "overlap": 0},
    {"kind": "time", "overlap": 3, "parameter": "since"},
    {"kind": "time", "overlap": 3, "parameter": "since", "ascending": True},
    {"kind": "snapshot", "deleted_type": "deleted", "allow_empty": True},
]
RUNS = 12


@pytest.mark.parametrize(
    ("pagination", "changes", "newest_first"),
    [
        (pagination, changes, newest_first)
        for pagination, changes, newest_first in itertools.product(PAGINATIONS, CHANGES, [False, True])
        if not (newest_first and changes.get("ascending"))
    ],
)
def test_nothing_is_skipped_and_nothing_is_repeated(
    pagination: Any, changes: Any, *, newest_first: bool, seed: int
) -> None:
    for number in range(seed, seed + RUNS):
        run = Simulation(number, size=3 + number % 3, newest_first=newest_first, pagination=pagination, changes=changes)
        run.run(60)
        run.settle()
        found = published(run.events)
        ids = [event["id"] for event in run.events]
        assert len(set(ids)) == len(ids), f"seed {number}"
        for identity, record in run.list.records.items():
            assert found.get(identity, [0])[-1] == record["version"], f"seed {number}, {identity}"
        assert all(versions == sorted(set(versions)) for versions in found.values()), f"seed {number}"
        if changes["kind"] == "snapshot":
            assert run.known_deleted() == {event["subject"] for event in run.events} - set(run.list.records)


@pytest.mark.parametrize(
    ("pagination", "changes"), list(itertools.product(PAGINATIONS, [*CHANGES, {"kind": "time", "start": "now"}]))
)
def test_a_snapshot_publishes_all_records_again_with_their_ids(pagination: Any, changes: Any, seed: int) -> None:
    for number in range(seed, seed + RUNS):
        run = Simulation(number, size=3 + number % 3, pagination=pagination, changes=changes)
        run.run(30)
        if changes.get("start") != "now":
            run.settle()
        before = {event["subject"]: event["id"] for event in run.events}
        # At once, or while a page is half published.
        run.run(number % 3, crash=0)
        changed = {event["subject"] for event in run.events[len(before) :]}
        begun = len(run.events)
        run.snapshot()
        run.run(20, change=0.2)
        run.settle()
        again = run.events[begun:]
        assert {event["subject"] for event in again} >= set(run.list.records), f"seed {number}"
        for event in again:
            known = before.get(event["subject"])
            same = event["data"].get("version") == 1 and event["subject"] not in changed
            assert event["id"] == known or not same or known is None, f"seed {number}, {event}"
        for versions in published(run.events).values():
            assert versions == sorted(versions), f"seed {number}: an older version after a newer one"
        run.settle()
        assert len(run.events) == begun + len(again), f"seed {number}: the snapshot is over"


def test_a_record_that_moves_back_and_forth_between_two_pages_is_read() -> None:
    """With this seed, a deletion and an insert hide one between the second reading of a page and the next page."""
    changes = {"kind": "time", "overlap": 3, "parameter": "since"}
    run = Simulation(101871, size=3, newest_first=True, pagination={"kind": "page"}, changes=changes)
    run.run(60)
    run.settle()
    last = {identity: versions[-1] for identity, versions in published(run.events).items()}
    assert {identity: last.get(identity) for identity in run.list.records} == {
        identity: record["version"] for identity, record in run.list.records.items()
    }


def test_without_rereading_records_are_skipped() -> None:
    """The simulation finds what the pager prevents."""
    skipped = 0
    for seed in range(20):
        run = Simulation(
            seed, size=3, pagination={"kind": "page", "reread": False}, changes={"kind": "time", "overlap": 0}
        )
        run.run(60)
        run.settle()
        found = published(run.events)
        skipped += any(found.get(key, [0])[-1] != each["version"] for key, each in run.list.records.items())
    assert skipped > 5


def test_a_list_that_is_not_ascending_is_an_error_and_not_a_loss() -> None:
    changes = {"kind": "time", "overlap": 0, "ascending": True}
    run = Simulation(1, size=3, newest_first=True, pagination={"kind": "page"}, changes=changes)
    for number in range(10):
        run.clock.at += 1
        run.list.put(f"r{number}", 1)
    with pytest.raises(TrelayError, match=r"changes\.ascending: after a record of 2027-01-15T08:00:\d\d\.000Z the API"):
        run.settle()


def test_an_ascending_list_needs_little_memory_and_another_one_has_a_limit() -> None:
    sizes = {}
    for ascending in (True, False):
        changes = {"kind": "time", "overlap": 3, "ascending": ascending, "window_limit": 1000}
        run = Simulation(1, size=50, pagination={"kind": "page"}, changes=changes)
        for number in range(1001):
            run.clock.at += 1
            run.list.put(f"r{number}", 1)
        if ascending:
            run.settle()
            assert len(run.events) == 1001
        else:
            with pytest.raises(
                TrelayError, match=r"more than 1000 records would have to be .* \(changes.window_limit\)"
            ):
                run.settle()
        sizes[ascending] = run.largest
    assert sizes[True] < sizes[False] / 5


def simulated(records: list[dict[str, Any]], **options: Any) -> Simulation:
    run = Simulation(1, size=3, **options)
    run.list.records = {str(number): each for number, each in enumerate(records)}
    return run


def test_an_unreadable_record_is_rejected_once_and_listed_again_without_a_reject() -> None:
    run = simulated([{"id": "a", "at": "2027-01-01T00:00:00Z"}, {"x": 1}, {"id": "b"}], changes={"kind": "time"})
    rejects = []
    for _ in range(6):
        rejects += run.poll().rejects
    assert sorted(reject.value for reject in rejects) == [b'{"id": "b"}', b'{"x": 1}']
    run.cache.drop(run.sweep.request.url if run.sweep.request else None)  # type: ignore[arg-type]
    for _ in range(6):
        assert run.poll().rejects == []
    assert set(run.sweep.checkpoint()) == {"", "records/0", "rejected"}
    assert set(run.sweep.checkpoint_at("beginning")) == {""}


def test_pages_that_do_not_advance_are_an_error_with_their_url() -> None:
    pagination = {"kind": "offset", "more": "true"}
    with pytest.raises(Malformed, match=r"https://api\.example/orders\?offset=0: page 1 has no records"):
        simulated([], pagination=pagination).poll()


def test_pages_that_keep_moving_are_a_problem() -> None:
    run = simulated([], pagination={"kind": "offset", "overlap": 1})
    for number in range(40):
        run.list.records = {f"{number}-{each}": {"id": f"{number}-{each}"} for each in range(5)}
        run.poll()
    assert run.sweep.problems == (
        "records move between the pages faster than the pages can be read: ask for larger pages",
    )


def test_a_cursor_that_is_no_url_is_an_error() -> None:
    with pytest.raises(Malformed, match=r"changes\.cursor: found 'http://\[::1'; expected a URL"):
        simulated([], changes={"kind": "cursor", "cursor": "next", "start": "http://[::1"})


def test_of_the_pages_behind_a_cursor_the_last_one_is_remembered() -> None:
    changes = {"kind": "cursor", "cursor": "items[-1].id", "parameter": "after"}
    run = Simulation(1, size=3, pagination={"kind": "page"}, changes=changes)
    for number in range(10):
        run.list.put(f"r{number}", 1)
    read = set()
    for _ in range(40):
        request = run.sweep.request
        run.poll()
        if request is not None:
            read.add(request.url)
            known = {url for url in read if run.cache.get(url) is not None}
            assert known <= {request.url}
    assert len(read) > 3
    assert len(run.events) == 10


def test_a_cursor_that_the_api_knows_no_longer_is_that_of_the_first_page() -> None:
    changes = {"kind": "cursor", "cursor": "items[-1].id", "parameter": "after", "on_expired": "restart"}
    run = Simulation(1, size=3, pagination={"kind": "page"}, changes=changes)
    first = run.sweep.request
    assert first is not None
    assert run.sweep.expired(first, 410, b"") is None, "there is no cursor yet"
    for number in range(5):
        run.list.put(f"r{number}", 1)
    run.settle()
    following = run.sweep.request
    assert following is not None
    assert following.url.query["after"] == "r4"
    assert run.sweep.expired(following, 410, b"") == "r4"
    assert run.sweep.expired(following, 500, b"") is None
    assert run.sweep.expired(following._replace(number=2), 410, b"") is None
    parts = run.sweep.begin_again()
    assert parts is not None
    run.commit(parts)
    run.open()
    assert run.sweep.request == first
    run.settle()
    assert len(run.events) == 5, "they are remembered"


@pytest.mark.parametrize("changes", CHANGES)
def test_other_lists_have_no_cursor_to_forget(changes: Any) -> None:
    run = simulated([], changes=changes)
    request = run.sweep.request
    assert request is not None
    assert run.sweep.expired(request, 410, b"") is None
    assert run.sweep.begin_again() is None


def test_a_list_that_starts_now_is_requested_again_with_the_time_of_the_api() -> None:
    changes = {"kind": "time", "overlap": 3, "parameter": "since", "start": "now"}
    run = Simulation(1, size=3, changes=changes)
    first = run.sweep.request
    assert first is not None
    assert first.url.query["since"] == "2027-01-15T07:59:57Z"
    run.sweep.load(run.fetch(first)._replace(sent=run.clock.at - 3600), "a list")
    batch = run.sweep.batch(5)
    assert (batch.records, batch.more, batch.whole) == ([], True, False)
    run.commit(batch.checkpoint)
    run.open()
    again = run.sweep.request
    assert again is not None
    assert again.url.query["since"] == "2027-01-15T06:59:57Z"
