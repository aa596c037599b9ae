import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import (
    ALL,
    COME_BACK,
    DRAINING,
    REASON_LIMIT,
    STAY_AWAY,
    CloseReason,
    of_fault,
)

ROOT = Path(__file__).parents[5]


def test_all_are_listed_and_no_code_or_name_is_used_twice() -> None:
    declared = [value for value in vars(close_codes).values() if isinstance(value, CloseReason)]
    assert sorted(declared, key=lambda reason: reason.code) == sorted(ALL, key=lambda reason: reason.code)
    assert len({reason.code for reason in ALL}) == len({reason.name for reason in ALL}) == len(ALL)


def test_each_is_used_by_what_ends_connections() -> None:
    """So that none is documented and never sent."""
    used = {name for path in (ROOT / "services").rglob("*.py") for name in _used(ast.parse(path.read_text()))}
    of_faults = {reason for reason in ALL if of_fault(reason.code) is reason and reason.code < 4000}
    unused = {name for name, reason in vars(close_codes).items() if reason in ALL and name not in used}
    assert {name for name in unused if vars(close_codes)[name] not in of_faults} == set()


def _used(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith(".close_codes"):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "close_codes":
            yield node.attr


@pytest.mark.parametrize("reason", [reason for reason in ALL if reason.code >= 4000], ids=lambda reason: reason.name)
def test_each_is_told_to_subscribers(reason: CloseReason) -> None:
    rows = [line for line in (ROOT / "docs/subscribers.md").read_text().splitlines() if line.startswith("| 4")]
    assert any(str(reason.code) in row for row in rows)


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_range_says_whether_to_come_back(reason: CloseReason) -> None:
    if reason.code >= 4000:
        assert reason.code in (COME_BACK if reason.come_back else STAY_AWAY)
    else:
        assert reason.code in {1000, 1002, 1006, 1007, 1009}


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_text_fits_into_a_close_frame_and_names_the_wait(reason: CloseReason) -> None:
    for wait in (None, 0.04, 12345.678):
        assert len(reason.text(wait).encode()) <= REASON_LIMIT
    assert ("wait=" in reason.text()) == reason.come_back


def test_a_wait_of_its_own() -> None:
    assert DRAINING.text() == "draining; wait=1.0"
    assert DRAINING.text(3.14) == "draining; wait=3.1"


def test_faults_of_the_peer() -> None:
    assert of_fault(1009) is close_codes.TOO_BIG
    assert of_fault(1007) is close_codes.NOT_UTF8
    assert of_fault(1003) is close_codes.PROTOCOL_ERROR
