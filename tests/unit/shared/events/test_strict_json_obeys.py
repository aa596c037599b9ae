"""Whether a document obeys the rule, found without looking for its fault."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import strict_json
from shared.events.strict_json import DATA_LEVELS, fault_of
from tests.unit.cpu_time import least_cpu_time
from tests.unit.shared.events.test_strict_json import text


def test_a_document_obeys_the_rule_if_it_has_no_fault() -> None:
    rng = random.Random(13)
    for _ in range(20_000):
        document = text(rng).encode()
        assert strict_json.obeys(document) == (fault_of(document) is None), document


@pytest.mark.parametrize("levels", [3, DATA_LEVELS])
def test_a_document_that_obeys_the_rule_is_not_nested_deeper(levels: int) -> None:
    for document in (b"[" * levels + b"]" * levels, b"[1e400," + b"[" * levels + b"]" * levels + b"]"):
        assert strict_json.obeys(document, levels) == (fault_of(document, levels) is None)


@given(st.binary() | st.binary().map(lambda inner: b'{"a":[1e5,"%b"]}' % inner))
def test_any_bytes_obey_the_rule_if_they_have_no_fault(document: bytes) -> None:
    assert strict_json.obeys(document) == (fault_of(document) is None)


@pytest.mark.parametrize(
    "document",
    [
        b"[" + b"1," * 120_000 + b"1e999]",
        b"[" + b"%b," % (b"9" * 209) * 1200 + b"1e999]",
        b"[" + b"1e100," * 40_000 + b"1e999]",
        b"[" + b'{"a":1},' * 30_000 + b"1e999]",
        b"[" + b'"",' * 80_000 + b"1e999]",
        b'"' * 250_000,
        b"9" * 250_000,
    ],
    ids=range(7),
)
def test_no_document_takes_long_to_judge(document: bytes) -> None:
    """The limit is some ten times what it takes, and less than what it takes to find the fault of the first one."""
    assert not strict_json.obeys(document)
    assert least_cpu_time(lambda: strict_json.obeys(document), 5) < 0.25
