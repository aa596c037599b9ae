"""Finds the metrics of Trelay in PromQL, and what is wrong with how they are selected."""

import re
from collections.abc import Iterator

from tests.monitoring.exported import samples

_SELECTOR = re.compile(r"(?<![:\w])((?:trelay|process|python)_\w+)\b(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_OF_TARGETS = {"job", "instance", "namespace", "pod"}


def selected(expr: str) -> set[str]:
    """Return the names of the metrics that an expression selects."""
    return {name for name, _ in _SELECTOR.findall(expr)}


def faults(expr: str) -> Iterator[str]:
    """Name metrics that no service exports, and label values that no series has."""
    for name, matchers in _SELECTOR.findall(expr):
        found = samples().get(name)
        if found is None:
            yield f"{name} is not exported"
            continue
        for label, operator, value in _MATCHER.findall(matchers):
            if label in _OF_TARGETS or value.startswith("$"):
                continue
            known = {labels.get(label) for labels in found}
            if known == {None}:
                yield f"{name} has no label {label}"
            elif operator in {"=", "=~"}:
                yield from (f"{name}: {label} is never {wanted}" for wanted in value.split("|") if wanted not in known)
