from typing import Any

from pydantic import Field

from shared.settings import Finding, Options, parts


class Leaf(Options):
    name: str = ""


class Tree(Options):
    leaf: Leaf = Leaf(name="one")
    none: Leaf | None = None
    by_name: dict[str, Leaf] = Field(default_factory=dict)
    listed: tuple[Leaf, ...] = ()
    other: Leaf = Field(default=Leaf(), alias="else")
    anything: Any = None


def test_every_model_is_found_with_its_path() -> None:
    tree = Tree.model_validate({"by_name": {"a.b": {"name": "two"}}, "listed": [{"name": "three"}], "anything": [1]})
    assert [(path, part) for path, part in parts(tree)] == [
        (("leaf",), Leaf(name="one")),
        (("by_name", "a.b"), Leaf(name="two")),
        (("listed", 0), Leaf(name="three")),
        (("else",), Leaf()),
    ]


def test_a_finding_is_a_line() -> None:
    assert str(Finding(("a", "b", 0), "is wrong")) == "a.b.0: is wrong"
    assert str(Finding((), "is wrong")) == "is wrong"
