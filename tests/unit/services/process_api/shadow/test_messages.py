"""Messages between a replica and the process of its shadows."""

import pytest

from services.process_api.shadow.messages import (
    HEAD,
    Given,
    Result,
    Verdict,
    compared,
    pack,
    unpack_given,
    unpack_verdict,
)

A, B = (b"c", b'{"n":1}'), (b"c", b'{"n":2}')
GIVEN = Given("orders", b"{}", [("h", b"\xff")], "t", 1, 2, 3, None, [A])


def test_messages_come_as_they_were_sent() -> None:
    assert unpack_given(pack(GIVEN)[HEAD.size :]) == GIVEN
    verdict = Verdict(Result.DIFFERENT, (A, B), "é")
    assert unpack_verdict(pack(verdict)[HEAD.size :]) == verdict


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ([], [], Verdict(Result.SAME)),
        (None, [], Verdict(Result.SAME)),
        ([A], [A], Verdict(Result.SAME)),
        ([A], [(b"c", b'{"n": 1}')], Verdict(Result.SAME)),
        ([A], [B], Verdict(Result.DIFFERENT, (B,))),
        ([A], [(b"d", A[1])], Verdict(Result.DIFFERENT, ((b"d", A[1]),))),
        ([A], [], Verdict(Result.ONLY_OLD)),
        ([], [A], Verdict(Result.ONLY_NEW, (A,))),
        (None, [A], Verdict(Result.ONLY_NEW, (A,))),
    ],
    ids=[
        "none",
        "rejected",
        "equal",
        "written otherwise",
        "content",
        "channel",
        "only old",
        "only new",
        "was rejected",
    ],
)
def test_events_are_compared_by_channel_and_content(
    old: list[tuple[bytes, bytes]] | None, new: list[tuple[bytes, bytes]], verdict: Verdict
) -> None:
    assert compared(old, new) == verdict


@pytest.mark.parametrize(
    ("old", "new", "result"), [(b"true", b"1", Result.DIFFERENT), (b"[0]", b"[false]", Result.DIFFERENT)]
)
def test_true_is_not_1(old: bytes, new: bytes, result: Result) -> None:
    assert compared([(b"c", old)], [(b"c", new)]).result is result
    assert compared([(b"c", b"1")], [(b"c", b"1.0")]).result is Result.SAME
