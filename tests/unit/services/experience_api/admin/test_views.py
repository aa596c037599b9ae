from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from services.experience_api.admin.views import client_view, consumer_view, ending_text, ending_view, time_view
from services.experience_api.registry.clients import Client, Connected, Consumer, Ending
from services.experience_api.registry.notices import ConnectionDetails


def test_a_client_is_shown_without_its_secrets() -> None:
    client = Client(
        "shop",
        "current-hash",
        ("a.*",),
        previous_secret_hash="older-hash",
        previous_secret_until=datetime(2026, 1, 2, tzinfo=UTC),
    )
    view = client_view(client)
    assert "hash" not in str(view)
    assert (view["client_id"], view["channels"], view["created_at"]) == ("shop", ["a.*"], None)
    assert view["previous_secret_until"] == "2026-01-02T00:00:00Z"


def test_a_time_is_in_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=timezone(timedelta(hours=2)))
    assert time_view(moment) == "2026-01-02T01:04:05Z"
    assert time_view(None) is None


def test_an_ending_is_shown_as_json_and_as_one_line() -> None:
    ending = Ending(4002, "no pong", 90.25, datetime(2026, 1, 2, tzinfo=UTC))
    shown = {"at": "2026-01-02T00:00:00Z", "code": 4002, "reason": "no pong", "lasted_seconds": 90.2}
    assert ending_view(ending) == shown
    assert ending_text(shown) == "2026-01-02T00:00:00Z 4002 no pong, after 90 s"
    assert (ending_view(None), ending_text(None)) == (None, "")
    assert client_view(Client("shop", "hash", last_ending=ending))["last_ending"] == shown


def test_what_a_replica_has_not_told_is_null() -> None:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    one, other = UUID(int=1), UUID(int=2)
    connections = tuple(Connected(each, "node", "192.0.2.1", moment) for each in (one, other))
    told = ConnectionDetails(one, ("a",), "cursor", 3, live=False, buffered=10, acknowledged=None)
    view = consumer_view(Consumer("shop", moment, moment, connections), {one: told})
    assert view["last_seen_at"] is None
    first, second = view["connections"]
    assert (first["cursor"], first["lag"], first["live"], first["buffered_bytes"]) == ("cursor", 3, False, 10)
    assert {second[name] for name in ("channels", "cursor", "live", "lag", "buffered_bytes")} == {None}
    assert consumer_view(Consumer("shop", moment, moment), {})["last_seen_at"] == "2026-01-02T00:00:00Z"
