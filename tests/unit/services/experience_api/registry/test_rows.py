import uuid
from typing import Any

import pytest

from services.experience_api.refusals import (
    CLIENT_DISABLED,
    LOOPBACK_ONLY,
    TOKEN_EXPIRED,
    TOKEN_REFUSED,
    UNAVAILABLE,
    Refusal,
    Refused,
)
from services.experience_api.registry.clients import Policy
from services.experience_api.registry.protocol import Claim, Held
from services.experience_api.registry.rows import refusal_of, verdict_of

OWN, OTHER = uuid.uuid4(), uuid.uuid4()
GRANTED = {
    "disabled": False,
    "loopback_only": False,
    "good": True,
    "leased": True,
    "epoch": 1,
    "holder": None,
    "holder_node": None,
    "holder_remote": None,
    "holder_since": None,
    "policy": "reject",
    "max_connections": 1,
    "slot": 1,
    "channels": ["orders.*"],
    "may_send": False,
}


def verdict(*more: dict[str, Any], **changes: Any) -> Claim | Held | None:
    rows: Any = [GRANTED | changes, *(GRANTED | changes | each for each in more)]
    return verdict_of(rows, "demo", OWN, loopback=False)


def test_a_row_with_an_epoch_is_a_claim_that_names_what_it_displaced() -> None:
    assert verdict() == Claim("demo", OWN, 1, ("orders.*",), may_send=False)
    held = Held(OTHER, "two")
    assert verdict(epoch=2, holder=OTHER, holder_node="two") == Claim(
        "demo", OWN, 2, ("orders.*",), may_send=False, displaced=held
    )


def test_a_row_without_an_epoch_names_the_holder_or_is_tried_again() -> None:
    held = verdict(epoch=None, slot=None, holder=OTHER, holder_node="two", holder_remote="192.0.2.1")
    assert isinstance(held, Held)
    assert (held, held.remote, held.policy) == (Held(OTHER, "two"), "192.0.2.1", Policy.REJECT)
    assert verdict(epoch=None) is None
    assert verdict(epoch=None, slot=2, holder=OTHER, holder_node="two") is None


def test_the_oldest_of_several_holders_names_the_others() -> None:
    third = uuid.uuid4()
    taken = {"epoch": None, "slot": None, "max_connections": 2}
    held = verdict({"holder": third, "holder_node": "one"}, holder=OTHER, holder_node="two", **taken)
    assert isinstance(held, Held)
    assert (held, held.others, held.max_connections) == (Held(OTHER, "two"), (Held(third, "one"),), 2)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"disabled": True, "good": False}, CLIENT_DISABLED),
        ({"loopback_only": True, "good": False}, LOOPBACK_ONLY),
        ({"good": False, "leased": False}, TOKEN_EXPIRED),
        ({"leased": False}, UNAVAILABLE),
    ],
    ids=lambda value: getattr(value, "code", None),
)
def test_other_rows_are_refusals(changes: dict[str, Any], refusal: Refusal) -> None:
    with pytest.raises(Refused) as refused:
        verdict(**changes)
    assert refused.value.refusal is refusal


def test_no_row_is_a_refused_token() -> None:
    with pytest.raises(Refused) as refused:
        verdict_of([], "demo", OWN, loopback=True)
    assert refused.value.refusal is TOKEN_REFUSED


def test_a_token_is_refused_for_the_first_reason() -> None:
    rows: list[Any] = [
        {"known": False, "disabled": True, "good": False},
        {"known": True, "disabled": True, "good": False},
        {"known": True, "disabled": False, "good": False},
        {"known": True, "disabled": False, "good": True},
    ]
    assert [refusal_of(row) for row in rows] == [TOKEN_REFUSED, CLIENT_DISABLED, TOKEN_EXPIRED, None]
