"""What wakes the watchers of a store."""

from typing import cast

import pytest

from shared.database.notified_store import NotifiedStore
from shared.database.pool import ConnectionPool


@pytest.mark.parametrize(("payload", "woken"), [("a", {"a"}), ("c", set()), (None, {"a", "b"})])
def test_a_notification_wakes_the_watchers_of_its_key_and_a_gap_wakes_all(payload: str | None, woken: set[str]) -> None:
    store = NotifiedStore(cast("ConnectionPool", None))
    watchers = store._watchers
    with watchers.watch("a") as first, watchers.watch("b") as second:
        store.on_notification(payload)
        assert {name for name, event in (("a", first), ("b", second)) if event.is_set()} == woken
