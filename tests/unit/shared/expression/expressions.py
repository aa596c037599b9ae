"""Expressions and entities for property tests, made so that they meet."""

import json
from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "c", "d e")

_plain_texts = st.sampled_from(["", "x", "abc", "z", "é", "1", "true"])
_scalars: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from([0, 1, 2, -1, 100, 1.5, 0.1]), _plain_texts, st.booleans(), st.none()
)
values: st.SearchStrategy[Any] = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
_lines = st.lists(st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0, 1, 2, -1, 1.5, 0.1, 0.2])), max_size=3)
entities: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(st.sampled_from(NAMES), values | _lines, min_size=1),
    st.dictionaries(st.sampled_from(NAMES), _lines, min_size=1),
    values,
)

_name = st.sampled_from([f"`{name}`" if " " in name else name for name in NAMES])
paths = st.lists(_name, min_size=1, max_size=3).map(".".join)
literals = st.sampled_from(["1", "0", "-1", "1.5", "100", '"x"', "'abc'", '""', "true", "false", "null", '"é"'])
_attributes = st.sampled_from(["$event.type", "$event.subject", "$event.nothing", "$event.data", "$event.sequence"])
_orders = st.sampled_from([" = ", " != ", " < ", " <= ", " > ", ">="])


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    member = st.tuples(st.sampled_from(["'k'", '"l"', "'m n'"]), inner)
    return st.one_of(
        st.tuples(inner, _orders, inner).map(lambda parts: f"({''.join(parts)})"),
        st.tuples(inner, st.sampled_from([" and ", " or ", " & "]), inner).map(lambda parts: f"({''.join(parts)})"),
        st.tuples(inner, st.lists(literals, min_size=1, max_size=3)).map(
            lambda parts: f"({parts[0]} in [{', '.join(parts[1])}])"
        ),
        inner.map(lambda part: f"$not({part})"),
        paths.map(lambda path: f"$exists({path})"),
        st.tuples(paths, _name).map(lambda parts: f"$sum({'.'.join(parts)})"),
        st.tuples(paths, st.permutations(["a", "b", "c"])).map(
            lambda parts: f"$sum({parts[0]}.({parts[1][0]} * {parts[1][1]}))"
        ),
        st.lists(member, min_size=1, max_size=3, unique_by=lambda pair: pair[0]).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    )


plain_expressions: st.SearchStrategy[str] = st.recursive(
    st.one_of(paths, paths, literals, _attributes), _grown, max_leaves=6
)
"""Expressions of the grammar of `plain`."""


def same(mine: bytes | None, theirs: bytes | None) -> bool:
    """Whether two results are the same JSON value; 1.0 and 1 are, true and 1 are not."""
    if mine is None or theirs is None:
        return mine is theirs
    return bool(_typed(json.loads(mine)) == _typed(json.loads(theirs)))


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_typed(item) for item in value]
    return (bool, value) if isinstance(value, bool) else value
