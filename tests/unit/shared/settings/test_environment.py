import pytest

from shared.settings.document import read
from shared.settings.environment import Expansion


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${HOST}", "db"),
        ("${HOST}:${PORT:-5432}/x", "db:5432/x"),
        ("${EMPTY:-none}", "none"),
        ("${EMPTY}", ""),
        ("${PORT:-}", ""),
        ("$${HOST}", "${HOST}"),
        ("$HOST", "$HOST"),
        ('${"key": price}', '${"key": price}'),
        ("${BRACES}", "${HOST}"),
    ],
)
def test_replaces_references_once(text: str, expected: str) -> None:
    env = {"HOST": "db", "EMPTY": "", "BRACES": "${HOST}"}
    assert Expansion(read(""), env).expand((), text) == expected


def test_lists_and_mappings_are_expanded_and_the_paths_remembered() -> None:
    expansion = Expansion(read(""), {"A": "1"})
    assert expansion.expand((), {"x": ["${A}", "plain", 2], "y": "${B:-b}"}) == {"x": ["1", "plain", 2], "y": "b"}
    assert expansion.touched == {("x", 0)}
    assert expansion.references == {("x", 0), ("y",)}


def test_a_variable_that_is_not_set_is_named_with_its_place() -> None:
    document = read("a:\n  b: ${MISSING}")
    Expansion(document, {}).expand((), document.value)
    (fault,) = document.faults
    assert fault.path == ("a", "b")
    assert fault.place == (2, 3)
    assert "environment variable MISSING is not set" in fault.sentence
