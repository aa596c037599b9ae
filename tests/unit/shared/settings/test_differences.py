from shared.settings.differences import changed_keys


def test_keys_that_differ_are_named_with_those_above_them() -> None:
    before = {"a": 1, "b": {"c": 1, "d": {"e": [1]}}, "gone": None, "same": {"x": 1}}
    after = {"a": 1, "b": {"c": 2, "d": {"e": [2]}}, "new": {"x": 1}, "same": {"x": 1}}
    assert list(changed_keys(before, after)) == ["b.c", "b.d.e", "gone", "new"]
    assert list(changed_keys(before, before)) == []
    assert list(changed_keys({"a": {"b": 1}}, {"a": None})) == ["a"]
