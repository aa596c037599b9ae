import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import ALL, DRAINING, CloseReason, of_protocol_error

ROOT = Path(__file__).parents[5]

REASON_LIMIT = 123
"""Bytes of reason that fit into a Close frame beside the code (RFC 6455, 5.5)."""

RECONNECT = range(4000, 4500)
STOP = range(4500, 5000)


def test_all_reasons_are_listed_and_codes_and_names_are_unique() -> None:
    declared = [value for value in vars(close_codes).values() if isinstance(value, CloseReason)]
    assert sorted(declared, key=lambda reason: reason.code) == sorted(ALL, key=lambda reason: reason.code)
    assert len({reason.code for reason in ALL}) == len({reason.name for reason in ALL}) == len(ALL)


def test_each_reason_is_used() -> None:
    """None is documented but never sent."""
    used = {name for path in (ROOT / "services").rglob("*.py") for name in _used(ast.parse(path.read_text()))}
    of_errors = {reason for reason in ALL if of_protocol_error(reason.code) is reason and reason.code < 4000}
    unused = {name for name, reason in vars(close_codes).items() if reason in ALL and name not in used}
    assert {name for name in unused if vars(close_codes)[name] not in of_errors} == set()


def _used(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith(".close_codes"):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "close_codes":
            yield node.attr


@pytest.mark.parametrize("reason", [reason for reason in ALL if reason.code >= 4000], ids=lambda reason: reason.name)
def test_each_code_is_documented_for_subscribers(reason: CloseReason) -> None:
    rows = [line for line in (ROOT / "docs/subscribers.md").read_text().splitlines() if line.startswith("| 4")]
    assert any(str(reason.code) in row for row in rows)


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_range_says_whether_to_reconnect(reason: CloseReason) -> None:
    if reason.code >= 4000:
        assert reason.code in (RECONNECT if reason.reconnect else STOP)
    else:
        assert reason.code in {1000, 1002, 1006, 1007, 1009}


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_text_fits_into_a_close_frame_and_names_the_wait(reason: CloseReason) -> None:
    for wait in (None, 0.04, 12345.678):
        assert len(reason.text(wait).encode()) <= REASON_LIMIT
    assert ("wait=" in reason.text()) == reason.reconnect


def test_a_given_wait_replaces_the_default() -> None:
    assert DRAINING.text() == "draining; wait=1.0"
    assert DRAINING.text(3.14) == "draining; wait=3.1"


def test_errors_in_the_peers_frames() -> None:
    assert of_protocol_error(1009) is close_codes.TOO_BIG
    assert of_protocol_error(1007) is close_codes.NOT_UTF8
    assert of_protocol_error(1003) is close_codes.PROTOCOL_ERROR


@pytest.mark.parametrize("reason", ALL, ids=lambda reason: reason.name)
def test_the_label_is_a_snake_case_token(reason: CloseReason) -> None:
    assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", reason.label)
