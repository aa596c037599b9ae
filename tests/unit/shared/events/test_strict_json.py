"""The rule for data: whatever passes is read by every reader, and read alike."""

import json
import math
import random
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.events import strict_json
from shared.events.strict_json import (
    DATA_LEVELS,
    check,
    check_depth,
    fault_of,
    is_plain,
    is_suspicious,
)

NUMBERS = [
    "0", "-0", "1", "-1", "1.5", "1e5", "1E+5", "1e-5", "1e308", "1.7976931348623157e308", "1.8e308", "1e309", "1e400",
    "-1e400", "1E+0400", "1e+4000000000000000000000", "0e999", "0.0e400", "1e-400", "5e-324", "9007199254740993",
    "18446744073709551616", "1" * 309, "2" * 309, "1" * 310, "9" * 4301, "0." + "0" * 400 + "1e401", "1" * 210 + "e99",
    "1" * 209 + "e99", "9" * 210 + "e98", "1" * 400 + "e-200", "0." + "3" * 500, "NaN", "Infinity", "-Infinity", "01",
]  # fmt: skip
STRINGS = [
    "", "plain", "1e400", "a 1e400, b", "😀", r"\ud83d\ude00", r"\ud83d", r"\ude00", r"\ud83d\u0041", r"\\ud83d",
    r"\uD83Dx", r"\u0000", r"\"", r"\\", "[[[", "}", "\x7f", "é", "7" * 300, r"\ud83d\ud83d\ude00", "\x01",
]  # fmt: skip


def text(rng: random.Random, depth: int = 0) -> str:
    """Return text that is JSON, or nearly."""
    kind = rng.randrange(8 if depth < 6 else 4)
    space = rng.choice(["", "", " ", "\n", "\t"])
    if kind < 2:
        return space + rng.choice(NUMBERS) + space
    if kind < 4:
        return f'{space}"{rng.choice(STRINGS)}"'
    if kind == 4:
        return space + rng.choice(["true", "false", "null"])
    items = [text(rng, depth + 1) for _ in range(rng.randrange(4))]
    if kind == 5:
        return f"[{','.join(items)}]{space}"
    names = [f'"{rng.choice(STRINGS)}"' for _ in items]
    return "{" + ",".join(f"{name}{space}:{item}" for name, item in zip(names, items, strict=True)) + "}"


def values(found: Any) -> Any:
    """Return decoded JSON in a form that compares what all readers agree on: numbers as doubles."""
    if isinstance(found, dict):
        return {name: values(item) for name, item in found.items()}
    if isinstance(found, list):
        return [values(item) for item in found]
    return float(found) if isinstance(found, int) and not isinstance(found, bool) else found


def refuse_constant(name: str) -> None:
    raise ValueError(name)


def documents() -> list[str]:
    rng = random.Random(20260131)
    return [text(rng) for _ in range(3000)]


def test_what_passes_is_read_alike_by_json_and_msgspec() -> None:
    passed = [document for document in documents() if fault_of(document.encode()) is None]
    assert 300 < len(passed) < 2700
    for document in passed:
        read = json.loads(document, parse_constant=refuse_constant)
        assert values(read) == values(msgspec.json.decode(document))
        assert json.dumps(values(read), ensure_ascii=False, allow_nan=False).encode()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_what_passes_is_read_alike_by_javascript() -> None:
    passed = [document for document in documents() if fault_of(document.encode()) is None]
    script = (
        "const read = JSON.parse(require('fs').readFileSync(0, 'utf8')).map((text) => JSON.parse(text));"
        "process.stdout.write(JSON.stringify(read));"
    )
    done = subprocess.run(
        ["node", "-e", script],
        input=json.dumps(passed).encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    for document, there in zip(passed, json.loads(done.stdout), strict=True):
        assert values(json.loads(document)) == values(there), document


def test_what_msgspec_or_json_cannot_read_does_not_pass() -> None:
    for document in documents():
        try:
            read = json.loads(document, parse_constant=refuse_constant)
            msgspec.json.decode(document)
            json.dumps(read, ensure_ascii=False).encode()
            good = all(map(math.isfinite, doubles(read)))
        except (ValueError, OverflowError, msgspec.DecodeError):
            good = False
        assert (fault_of(document.encode()) is None) == good, document


def doubles(found: Any) -> list[float]:
    if isinstance(found, dict):
        found = list(found.values())
    if isinstance(found, list):
        return [double for item in found for double in doubles(item)]
    return [float(found)] if isinstance(found, int | float) else []


def obeys(document: bytes) -> bool:
    """Whether a document obeys the rule, by the slow path alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "is_plain", lambda *_: False)
        return fault_of(document) is None


def test_what_is_plain_obeys_the_rule_and_only_large_integers_are_not_plain() -> None:
    found = [document.encode() for document in documents()]
    plain = [document for document in found if is_plain(document)]
    assert all(map(obeys, plain))
    others = {document for document in found if obeys(document)} - set(plain)
    assert len(plain) > 300
    assert all(re.search(rb"[0-9]{20}", document) for document in others)


def test_documents_that_are_not_suspicious_together_pass_one_by_one() -> None:
    for document in documents():
        data = document.encode()
        try:
            msgspec.json.decode(data, type=msgspec.Raw)
        except msgspec.DecodeError:
            continue
        if not is_suspicious(b"\n".join([b"{}", data, b"[]", b""]), len(data)):
            check(data)


@given(st.binary() | st.binary().map(lambda inner: b'{"a":[1,"%b"]}' % inner))
def test_any_bytes_that_are_plain_obey_the_rule(document: bytes) -> None:
    assert not is_plain(document) or obeys(document)


@pytest.mark.parametrize("document", [b"", b"\xef\xbb\xbf1", b'"' + b"x" * 1_048_576 + b'"', b"1" * 30])
def test_what_simdjson_cannot_tell_is_not_plain(document: bytes) -> None:
    assert not is_plain(document)
    assert obeys(document) == (document[:1] in b'"1' and document != b"")


def test_threads_check_at_the_same_time() -> None:
    good, bad = b'{"a":[%b]}' % b",".join([b'"x"'] * 5000), b'{"a":[%b]}' % b",".join([b"1e400"] * 5000)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(is_plain, [good, bad] * 200)) == [True, False] * 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
)  # fmt: skip


@given(JSON, st.booleans())
def test_json_as_python_writes_it_passes(value: Any, ascii_only: bool) -> None:
    document = json.dumps(value, ensure_ascii=ascii_only).encode()
    check(document)
    assert obeys(document)


@given(st.binary())
def test_any_bytes_pass_or_are_refused(document: bytes) -> None:
    if fault_of(document) is None:
        json.loads(document.decode())


SHAPES = [("[",), ('{"a":',), ("[", '{"a":'), ('{"a":', "["), ("[1,[2],",), ('[{"x":"]"},',)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("padding", [0, 5000])
def test_the_limit_of_levels_is_exact(shape: tuple[str, ...], padding: int) -> None:
    for levels, good in ((DATA_LEVELS, True), (DATA_LEVELS + 1, False), (3000, False)):
        document = deep(shape, levels, padding)
        assert (fault_of(document) is None) == obeys(document) == good
        assert good or is_suspicious(document, len(document))


def deep(shape: tuple[str, ...], levels: int, padding: int) -> bytes:
    """Return an array of so many levels, whose openers may be preceded by closed siblings."""
    chosen = [shape[number % len(shape)] for number in range(levels - 2)] + ["["]
    closers = ["}" if opener.endswith(":") else "]" for opener in reversed(chosen)]
    document = "[" + "".join(chosen) + "1" + "".join(closers) + "]"
    if padding:
        document = document[:-1] + ',"' + "x" * padding + '"]'
    assert depth(document) == levels
    return document.encode()


def depth(document: str) -> int:
    """Count levels without recursion."""
    deepest = level = 0
    quoted = False
    for character in document:
        if character == '"':
            quoted = not quoted
        elif not quoted and character in "[{":
            level += 1
            deepest = max(deepest, level)
        elif not quoted and character in "]}":
            level -= 1
    return deepest


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (b'{"a":[1,{"b c":1e400}]}', "a[1].`b c`, byte 15: found the number 1e400; expected at most 1.8e308"),
        (b'{"n":-1.8e+308}', "n, byte 5: found the number -1.8e+308"),
        (b"1" * 400, f"byte 0: found the number {'1' * 40}… (400 characters)"),
        (rb'{"a":"x\ud83d"}', r"a, byte 5: found the lone surrogate \ud83d; expected a pair"),
        (rb'{"a":"\ud83d\u0041"}', r"a, byte 5: found the lone surrogate \ud83d"),
        (rb'["x","\ude00"]', r"[1], byte 5: found the lone surrogate \ude00"),
        (rb'{"\ud83d":1}', r"byte 1: found the lone surrogate \ud83d"),
        (b"[NaN]", "[0], byte 1: found NaN; expected a JSON number"),
        (b'{"x":-Infinity}', "x, byte 5: found -Infinity; expected a JSON number"),
        (b'"\xed\xa0\xbd"', "not UTF-8: invalid continuation byte at byte 1"),
        (b'{"a":tru}', "JSON is malformed"),
        (b"[" * 600 + b"]" * 600, "byte 511: found more than 511 nested objects and arrays"),
        (b"[" * 9000 + b"]" * 9000, "byte 511: found more than 511 nested objects and arrays"),
        (b"", "truncated"),
    ],
)
def test_a_fault_names_the_value_and_its_place(document: bytes, fault: str) -> None:
    with pytest.raises(Malformed) as caught:
        check(document)
    assert fault in str(caught.value)


def test_a_member_that_occurs_twice_passes_and_the_last_one_counts() -> None:
    document = b'{"a":1,"a":2}'
    check(document)
    assert json.loads(document) == msgspec.json.decode(document) == {"a": 2}


def test_only_the_nesting_is_checked_of_values_that_were_checked() -> None:
    check_depth(b"[" * DATA_LEVELS + b"1e400" + b"]" * DATA_LEVELS)
    with pytest.raises(Malformed, match="more than 511 nested"):
        check_depth(b"[" * (DATA_LEVELS + 1) + b"]" * (DATA_LEVELS + 1))


def test_suspicious_bytes_in_strings_pass() -> None:
    for document in (
        b'["' + b"1" * 400 + b'", "1e400, 1e500"]',
        b"[" + b",".join([b'{"a":"]"}'] * 1000) + b"]",
        b"[" + b",".join([rb'{"a":"\"]"}'] * 1000) + b"]",
    ):
        check(document)
        assert obeys(document)
        assert is_suspicious(document, len(document))
    assert strict_json.EVENT_LEVELS == DATA_LEVELS + 1


def test_many_short_values_in_sparse_arrays_cannot_be_nested_too_deeply() -> None:
    document = b'{"a":"' + b"x" * (3 * DATA_LEVELS) + b'"}'
    assert not is_suspicious(document, len(document))
