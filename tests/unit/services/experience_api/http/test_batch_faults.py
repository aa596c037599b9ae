"""Which event of a batch is at fault."""

import json
import random

import pytest

from services.experience_api.http.batch_faults import check_each
from shared.errors import Malformed

FAULTS = [b"1e999", b'"\\ud800"', b"[" * 520 + b"]" * 520, b'"\xff"', b"9" * 400, b"NaN", b'"\x01"']


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("space", [b"", b" \r\n\t"])
def test_the_first_event_at_fault_is_named(fault: bytes, space: bytes) -> None:
    rng = random.Random(1)
    good = json.dumps({"a": ["]", "é", {"b": "[,"}], "n": 1.5}).encode()
    for _ in range(20):
        before = rng.randrange(4)
        items = [good] * before + [b'{"a":%b}' % fault, good, b'{"b":%b}' % fault]
        body = space + b"[" + space + (space + b"," + space).join(items) + space + b"]" + space
        with pytest.raises(Malformed, match=f"^event {before}: not JSON that every reader accepts: ") as caught:
            check_each(body)
        assert caught.value.event == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"7",
        b"[",
        b"[]",
        b"[1,",
        b"[1e999",
        b"[1e999 2]",
        b"[1e999]]",
        b"[1e999] x",
        b"[,1e999]",
        b"[1e999,]",
        b"[{]",
        b"[" * 100_000,
        b"\xff",
        b'[{"a":1}, 2]',
    ],
)
def test_nothing_is_said_of_what_is_no_batch_or_is_right(body: bytes) -> None:
    check_each(body)
