"""Which responses say that an API knows a cursor no longer."""

import pytest

from services.system_api.sources.http.polling.expiry import is_expired


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (410, b""),
        (410, b'{"error":{"code":410,"message":"Sync token is no longer valid, a full sync is required."}}'),
        (400, b'{"ok":false,"error":"invalid_cursor"}'),
        (400, b'{"error":{"code":"syncStateNotFound","message":"Resync required."}}'),
        (400, b'{"code":"SyncTokenExpired"}'),
        (404, b'{"error":{"message":"No such event: \'evt_123456\'"}}'),
        (422, b"unknown continuation token"),
    ],
)
def test_it_says_so(status: int, body: bytes) -> None:
    assert is_expired(status, body, "evt_123456")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (None, b"invalid cursor"),
        (200, b"invalid cursor"),
        (401, b"invalid cursor"),
        (403, b"invalid cursor"),
        (500, b"invalid cursor"),
        (400, b"invalid access token"),
        (400, b"token expired"),
        (400, b"a cursor is a text"),
        (400, b"evt_123456"),
        (404, b'{"error":"not found","path":"/events?after=evt_123456"}'),
        (404, b"not found"),
    ],
)
def test_it_says_something_else(status: int | None, body: bytes) -> None:
    assert not is_expired(status, body, "evt_123456")


def test_a_short_cursor_and_a_url_are_found_by_chance() -> None:
    assert not is_expired(404, b"not found: 12", "12")
    assert not is_expired(404, b"not found: /delta?token=123456", "/delta?token=123456")
