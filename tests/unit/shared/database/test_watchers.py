from shared.database.watchers import Watchers


def test_an_event_is_set_for_its_own_keys_only() -> None:
    watchers: Watchers[str] = Watchers()
    with watchers.watch(["a", "b"]) as both, watchers.watch(["b"]) as one:
        watchers.notify(["a", "unwatched"])
        assert both.is_set()
        assert not one.is_set()
        both.clear()
        watchers.notify(["b"])
        assert both.is_set()
        assert one.is_set()


def test_all_events_are_set_when_it_is_not_known_what_has_changed() -> None:
    watchers: Watchers[int] = Watchers()
    with watchers.watch([1]) as first, watchers.watch([2]) as second:
        watchers.notify_all()
        assert first.is_set()
        assert second.is_set()


def test_an_event_is_forgotten_when_its_context_is_left() -> None:
    watchers: Watchers[int] = Watchers()
    with watchers.watch([1, 2]) as left:
        pass
    watchers.notify([1, 2])
    watchers.notify_all()
    assert not left.is_set()
    assert not watchers._events
