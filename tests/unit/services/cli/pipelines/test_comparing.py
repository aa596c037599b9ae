"""How results of two versions differ."""

from typing import Any

import pytest

from services.cli.pipelines.comparing import Compared, Kind, by_provenance, decoded, kind_of, on_channels, shadow_lines
from shared.bus.memory.log import MemoryRecord

A, B = b'{"channel":"c","data":1}', b'{"channel":"c","data":2}'


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ([], [], Kind.SAME),
        ([A], [b'{"data": 1, "channel": "c"}'], Kind.SAME),
        ([A], [B], Kind.CHANGED),
        ([A], [A, B], Kind.CHANGED),
        ([A, B], [B, A], Kind.CHANGED),
        ([], [A], Kind.ONLY_NEW),
        ([A], [], Kind.ONLY_OLD),
    ],
    ids=lambda value: value.value if isinstance(value, Kind) else str(len(value)),
)
def test_the_kind_of_a_difference(old: list[bytes], new: list[bytes], kind: Kind) -> None:
    assert kind_of(old, new, comparable=True) is kind
    assert kind_of(old, new, comparable=False) is Kind.NEW


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ("true", "1", Kind.CHANGED),
        ("[{}, false]", "[{}, 0]", Kind.CHANGED),
        ("0.1", "0.10000000000000000001", Kind.CHANGED),
        ("1", "1.0", Kind.SAME),
        ('{"a": 0.50, "b": null}', '{"b": null, "a": 5e-1}', Kind.SAME),
    ],
)
def test_values_are_compared_as_json(old: str, new: str, kind: Kind) -> None:
    values = [f'{{"channel": "c", "data": {text}}}'.encode() for text in (old, new)]
    assert kind_of(values[:1], values[1:], comparable=True) is kind


@pytest.mark.parametrize(
    ("compared", "lines"),
    [
        (Compared("7", "t/0/1", Kind.SAME, [1], [1]), ["= 7 (t/0/1): same"]),
        (Compared("7", "t/0/1", Kind.NEW, (), [{"a": 1}]), ["* 7 (t/0/1): new", '    {"a": 1}']),
        (Compared("7", "t/0/1", Kind.WAITS, (), (), "down"), ["? 7 (t/0/1): waits: down"]),
        (
            Compared("7", "t/0/1", Kind.CHANGED, [1], [2]),
            ["~ 7 (t/0/1): changed", "    @@ -1 +1 @@", "    -1", "    +2"],
        ),
    ],
    ids=["same", "new", "waits", "changed"],
)
def test_what_is_printed(compared: Compared, lines: list[Any]) -> None:
    assert compared.lines() == lines


def test_published_records_are_found_by_what_they_were_made_of_and_their_channel() -> None:
    records = [MemoryRecord("t", 0, number, 0, key, A, ()) for number, key in enumerate((b"c", b"d", b"c"))]
    found = by_provenance([(b"p", records[0]), (b"p", records[1]), (b"q", records[2])])
    assert found == {b"p": records[:2], b"q": records[2:]}
    assert on_channels(found[b"p"], frozenset({b"c"})) == [A]
    assert on_channels(found[b"p"], None) == [A, A]
    assert decoded([B]) == [{"channel": "c", "data": 2}]


def test_the_differences_of_a_shadow_are_printed() -> None:
    different = {
        "time": "T",
        "result": "different",
        "place": "t/0/1",
        "error": None,
        "old": [{"n": 1}],
        "new": [{"n": 2}],
    }
    failed: dict[str, Any] = {"time": "T", "result": "failed", "place": "t/0/2", "error": "no", "old": None, "new": []}
    found = {"name": "orders", "version": "abc", "replica": "a", "results": {"same": 7, "different": 1, "failed": 0}}
    assert shadow_lines({**found, "differences": [different, failed]}) == [
        "orders: version abc on a: 7 same, 1 different",
        "T different (t/0/1)",
        "    @@ -1,3 +1,3 @@",
        "     {",
        '    -  "n": 1',
        '    +  "n": 2',
        "     }",
        "T failed (t/0/2): no",
    ]
    assert shadow_lines({**found, "results": {}, "differences": []}) == ["orders: version abc on a: no events"]
