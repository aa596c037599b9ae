from shared.database.watching import Watchers


def test_who_watches_a_key_is_woken_by_it_and_by_no_other() -> None:
    watchers: Watchers[str] = Watchers()
    with watchers.watch(["a", "b"]) as both, watchers.watch(["b"]) as one:
        watchers.tell(["a", "nobody's"])
        assert both.is_set()
        assert not one.is_set()
        both.clear()
        watchers.tell(["b"])
        assert both.is_set()
        assert one.is_set()


def test_everybody_is_woken_when_nobody_knows_what_happened() -> None:
    watchers: Watchers[int] = Watchers()
    with watchers.watch([1]) as first, watchers.watch([2]) as second:
        watchers.tell_all()
        assert first.is_set()
        assert second.is_set()


def test_who_has_left_is_not_kept() -> None:
    watchers: Watchers[int] = Watchers()
    with watchers.watch([1, 2]) as left:
        pass
    watchers.tell([1, 2])
    watchers.tell_all()
    assert not left.is_set()
    assert not watchers._watching
