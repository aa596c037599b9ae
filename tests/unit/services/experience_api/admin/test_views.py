from datetime import UTC, datetime, timedelta, timezone

from services.experience_api.admin.views import client_view, time_view
from services.experience_api.registry.protocol import Client


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
