"""Outcomes as JUnit's XML, which CI servers show."""

from collections.abc import Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

_NOT_XML = {code: "\ufffd" for code in range(0x20) if chr(code) not in "\t\n\r"}
"""Characters that XML 1.0 does not allow."""


class Outcome(NamedTuple):
    """The outcome of one example."""

    file: str
    name: str
    failure: str
    """How it differs from what is expected; empty where it agrees."""
    seconds: float


def document(outcomes: Sequence[Outcome]) -> bytes:
    """Return one test suite for each file."""
    root = Element("testsuites")
    for file in dict.fromkeys(outcome.file for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.file == file]
        failed = sum(bool(outcome.failure) for outcome in mine)
        suite = SubElement(root, "testsuite", name=file, tests=str(len(mine)), failures=str(failed))
        for outcome in mine:
            case = SubElement(
                suite, "testcase", classname=file, name=_text(outcome.name), time=f"{outcome.seconds:.3f}"
            )
            if outcome.failure:
                failure = SubElement(case, "failure", message="the outcome differs from what is expected")
                failure.text = _text(outcome.failure)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written


def _text(written: str) -> str:
    return written.translate(_NOT_XML)
