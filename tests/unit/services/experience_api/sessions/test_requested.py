import pytest
from multidict import CIMultiDict, MultiDict

from services.experience_api.refusals import MALFORMED, Refused
from services.experience_api.sessions.requested import Requested, check_one_way, read_requested, read_wait

NOW = 1_767_323_045.0


def test_the_parameters_are_read() -> None:
    query = MultiDict({"channels": "a,b", "cursor": "AaB", "heartbeat": "event", "ticket": "x", "wait": "3"})
    assert read_requested(CIMultiDict(), query, ("wait",), now=NOW) == Requested("a,b", "AaB", None, heartbeat=True)
    assert read_requested(CIMultiDict(), MultiDict({"cursor": "", "since": ""}), now=NOW) == Requested(
        None, None, None, heartbeat=False
    )


def test_a_client_may_answer_heartbeats_over_a_connection_with_two_ways() -> None:
    found = read_requested(CIMultiDict(), MultiDict({"heartbeat": "answer"}), now=NOW)
    assert (found.heartbeat, found.answers) == (True, True)
    check_one_way(MultiDict({"heartbeat": "event"}))
    with pytest.raises(Refused, match="found 'answer'; expected 'event', except on /ws/publish"):
        check_one_way(MultiDict({"heartbeat": "answer"}))


def test_filters_are_read() -> None:
    query = MultiDict({"channels": "a,b.*", "filters": '{"b.*": "n > 1"}'})
    assert read_requested(CIMultiDict(), query, now=NOW).filters == {"b.*": "n > 1"}
    assert read_requested(CIMultiDict(), MultiDict({"filters": ""}), now=NOW).filters == {}


def test_the_conflation_is_read() -> None:
    assert read_requested(CIMultiDict(), MultiDict({"conflate": "500ms"}), now=NOW).conflate == 0.5
    assert read_requested(CIMultiDict(), MultiDict({"conflate": ""}), now=NOW).conflate == 0.0


@pytest.mark.parametrize(("text", "snapshot"), [("", False), ("false", False), ("true", True)])
def test_the_request_for_a_snapshot_is_read(text: str, snapshot: bool) -> None:
    assert read_requested(CIMultiDict(), MultiDict({"snapshot": text}), now=NOW).snapshot is snapshot


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"snapshot": "yes"}, "'snapshot': found 'yes'; expected 'true' or 'false'"),
        ({"snapshot": "true", "since": "60s"}, "'since' and 'snapshot': found both; expected one of them"),
    ],
    ids=["yes", "since"],
)
def test_another_snapshot_is_refused(query: dict[str, str], text: str) -> None:
    with pytest.raises(Refused, match=text) as refused:
        read_requested(CIMultiDict(), MultiDict(query), now=NOW)
    assert refused.value.refusal is MALFORMED


@pytest.mark.parametrize(
    ("channels", "filters", "text"),
    [
        ("a", "n > 1", "query parameter 'filters': .*expected an object such as"),
        ("a", '{"a": 1}', "query parameter 'filters': .*expected an object such as"),
        ("a", "\udcff", "query parameter 'filters': .*expected an object such as"),
        ("a", '{"a": "n >"}', "filter of 'a': position 4: found the end"),
        ("a", '{"b": "n > 1"}', "filter of 'b': expected the same pattern among 'channels'"),
        (None, '{"b": "n > 1"}', "filter of 'b': expected the same pattern among 'channels'"),
    ],
    ids=range(6),
)
def test_other_filters_are_refused(channels: str | None, filters: str, text: str) -> None:
    query = MultiDict({"filters": filters, **({"channels": channels} if channels else {})})
    with pytest.raises(Refused, match=text) as refused:
        read_requested(CIMultiDict(), query, now=NOW)
    assert refused.value.refusal is MALFORMED


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("10", 10), ("10s", 10), ("1", 1), ("3600s", 3600)])
def test_the_pace_of_watermarks_is_read(text: str, seconds: int | None) -> None:
    assert read_requested(CIMultiDict(), MultiDict({"watermarks": text}), now=NOW).watermarks == seconds


@pytest.mark.parametrize("text", ["0", "3601", "1.5", "-1", "s", "10ss", "1m", "\u0662", "9" * 5000])
def test_another_pace_of_watermarks_is_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"'watermarks'.*expected 1 to 3600 seconds, such as 10s"):
        read_requested(CIMultiDict(), MultiDict({"watermarks": text}), now=NOW)


def test_a_request_for_one_batch_has_no_watermarks() -> None:
    with pytest.raises(Refused, match="not for requests that wait"):
        read_requested(CIMultiDict(), MultiDict({"watermarks": "10s", "wait": "1"}), ("wait",), now=NOW)


def test_the_last_event_id_comes_before_the_cursor() -> None:
    found = read_requested(CIMultiDict({"Last-Event-ID": "new"}), MultiDict({"cursor": "old", "since": "1m"}), now=NOW)
    assert (found.cursor, found.since) == ("new", NOW - 60)


@pytest.mark.parametrize(
    "query", ["wait=1", "x=1", "cursor=a&cursor=b", "channels=", "heartbeat=ping", "since=x", "conflate=1"]
)
def test_what_is_not_known_is_refused(query: str) -> None:
    pairs = [(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&"))]
    with pytest.raises(Refused) as refused:
        read_requested(CIMultiDict(), MultiDict(pairs), now=NOW)
    assert refused.value.refusal is MALFORMED


@pytest.mark.parametrize(("text", "wait"), [(None, 25.0), ("", 25.0), ("0", 0.0), ("2.5", 2.5), ("60", 60.0)])
def test_the_wait_is_read(text: str | None, wait: float) -> None:
    assert read_wait(MultiDict({} if text is None else {"wait": text})) == wait


@pytest.mark.parametrize("text", ["-1", "61", "nan", "inf", "long"])
def test_another_wait_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        read_wait(MultiDict({"wait": text}))
