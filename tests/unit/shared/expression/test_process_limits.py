"""Limits of a process. `test_apart.py` and `test_trial.py` reach them."""

import resource
from pathlib import Path

import pytest

from shared.expression import process_limits


@pytest.mark.parametrize(("most", "expected"), [(resource.RLIM_INFINITY, 13), (12, 12)])
def test_the_cpu_time_is_counted_from_now_on(monkeypatch: pytest.MonkeyPatch, most: int, expected: int) -> None:
    set_to: list[tuple[int, tuple[int, int]]] = []
    used = type("Usage", (), {"ru_utime": 8.2, "ru_stime": 1.1})
    monkeypatch.setattr(resource, "getrusage", lambda _who: used)
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (most, most))
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: set_to.append((what, limits)))
    process_limits.limit_cpu(3)
    assert set_to == [(resource.RLIMIT_CPU, (expected, most))]


def test_the_memory_is_counted_from_now_on(monkeypatch: pytest.MonkeyPatch) -> None:
    set_to: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda what, limits: set_to.append((what, limits)))
    process_limits.limit_memory(1_000_000)
    ((what, (soft, hard)),) = set_to
    assert what == resource.RLIMIT_AS
    assert soft == hard
    assert soft > 1_000_000

    def unreadable(_path: object) -> str:
        raise OSError

    monkeypatch.setattr(Path, "read_text", unreadable)
    process_limits.limit_memory(1)
    assert len(set_to) == 1
