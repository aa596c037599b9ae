import yaml

from services.cli.config import rendering
from services.cli.config.origins import Value


def test_values_are_yaml_with_their_origins() -> None:
    values = [
        Value(("a", "b"), 1, "default"),
        Value(("a", "c", 0, "d"), "x", "t.yaml:1:2"),
        Value(("a", "c", 0, "e"), None, "default"),
        Value(("a", "c", 1), "y # z", "t.yaml:3:4"),
        Value(("f.g h",), {}, "default"),
    ]
    lines = list(rendering.lines(values))
    assert yaml.safe_load("\n".join(lines)) == {
        "a": {"b": 1, "c": [{"d": "x", "e": None}, "y # z"]},
        "f.g h": {},
    }
    assert [line.partition("  # ")[2] for line in lines if ("# " in line and ": " in line) or "- " in line] == [
        "default", "t.yaml:1:2", "default", "t.yaml:3:4", "default",
    ]  # fmt: skip
