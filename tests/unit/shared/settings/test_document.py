import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SettingsError
from shared.settings.document import Document, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("a: no", {"a": "no"}),
        ("a: 010", {"a": 10}),
        ("a: 0o10", {"a": 8}),
        ("a: 0x1F", {"a": 31}),
        ("a: 1:30", {"a": "1:30"}),
        ("a: 2026-01-02", {"a": "2026-01-02"}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: -.inf", {"a": float("-inf")}),
        ("a: ~\nb:", {"a": None, "b": None}),
        ("a: TRUE\nb: 'true'", {"a": True, "b": "true"}),
        ("1: x\nyes: y", {"1": "x", "yes": "y"}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("a: !!str 12", {"a": "12"}),
    ],
)
def test_reads_scalars_by_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert read(text).value == value


def test_every_key_and_item_has_a_place() -> None:
    document = read("a:\n  b: 1\n  c:\n    - x\n    - d: 2\n")
    assert document.place(("a", "b")) == (2, 3)
    assert document.place(("a", "c", 1)) == (5, 7)
    assert document.place(("a", "c", 1, "d")) == (5, 7)


def test_a_missing_key_has_the_place_of_the_nearest_key_above() -> None:
    document = read("a:\n  b: {}\n")
    assert document.place(("a", "b", "missing")) == (2, 3)
    assert document.place(("other",)) == (1, 1)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [orders.**, **]", r"1:17: not YAML: .*; write a value that begins with '\*' in quotes"),
        ("a: *.eu", r"1:5: not YAML: .*; write a value that begins with '\*' in quotes"),
        (
            "a: total: 1",
            "1:9: not YAML: mapping values are not allowed here; write a value that contains ': ' in quotes",
        ),
        ('a: "\\d"', "1:6: not YAML: .*; write the value in single quotes, which keep backslashes"),
        ("a:\n\tb: 1", "2:1: not YAML: .*; indent with spaces"),
        ("a: @b", "1:4: not YAML: .*; write a value that begins with it in quotes"),
        ("a: [b", "1:6: not YAML: while parsing a flow sequence expected ',' or ']', but got '<stream end>'$"),
    ],
)
def test_a_common_mistake_has_advice(text: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=f"^{fault}"):
        read(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", "key 'a' is already given on line 1"),
        ("a: &x {k: 1}\nb:\n  <<: *x", "merge keys"),
        ("a: !!python/object:os.system x", "is not supported"),
        ("a: !!int x", "is not of the type 'int'"),
        ("a: !x [1]", "the tag '!x' is not supported"),
        ("a: !x {b: 1}", "the tag '!x' is not supported"),
        ("? [a]\n: 1", "a key is text"),
        ("a: &x [*x]", "contains itself"),
    ],
)
def test_ambiguous_yaml_is_a_fault(text: str, sentence: str) -> None:
    (fault,) = read(text).faults
    assert sentence in fault.sentence


@pytest.mark.parametrize("text", ["a: [1", "a: *unknown", "a: 1\n---\nb: 2", "a: \x00", "[" * 5000, "\t- a"])
def test_invalid_yaml_names_line_and_column(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^\d+:\d+: "):
        read(text)


def test_deep_nesting_names_line_and_column() -> None:
    assert read("[" * 100 + "]" * 100).faults == []
    with pytest.raises(SettingsError, match=r"^2:101: nested more than 100 deep$"):
        read("\n[" + "[" * 5000)
    aliases = ["a0: &a0 []", *(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200))]
    with pytest.raises(SettingsError, match=r"deep, aliases counted$"):
        read("\n".join(aliases))


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(SettingsError, match="values, aliases counted"):
        read("\n".join(lines))


@given(st.text())
def test_any_text_gives_a_document_or_a_settings_error(text: str) -> None:
    with contextlib.suppress(SettingsError):
        assert isinstance(read(text), Document)
