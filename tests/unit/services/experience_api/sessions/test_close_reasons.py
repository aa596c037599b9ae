import uuid
from datetime import UTC, datetime

import pytest

from services.experience_api.refusals import ALREADY_CONNECTED
from services.experience_api.registry.clients import Policy
from services.experience_api.registry.notices import LossReason
from services.experience_api.registry.protocol import Held
from services.experience_api.sessions.close_reasons import CLAIM_CLOSE_REASONS, already_connected

SINCE = datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)


def test_every_loss_of_a_claim_has_a_close_reason() -> None:
    assert set(CLAIM_CLOSE_REASONS) == set(LossReason)


@pytest.mark.parametrize(("policy", "wait"), [(Policy.PROBE, "2"), (Policy.REJECT, "30"), (Policy.REPLACE, "1")])
def test_the_refusal_says_since_when_and_from_where(policy: Policy, wait: str) -> None:
    refused = already_connected(Held(uuid.uuid4(), "one", "192.0.2.1", SINCE, policy))
    assert refused.refusal is ALREADY_CONNECTED
    assert refused.detail == (
        "The client is already connected, since 2026-01-02T03:04:05+00:00, from 192.0.2.1; "
        f"the policy of the client is {policy.value!r}"
    )
    assert refused.headers["Retry-After"] == wait


def test_what_is_not_known_is_left_out() -> None:
    detail = "The client is already connected; the policy of the client is 'probe'"
    assert already_connected(Held(uuid.uuid4(), "one")).detail == detail


def test_of_several_connections_the_refusal_says_how_many_there_are() -> None:
    others = (Held(uuid.uuid4(), "two"),)
    held = Held(uuid.uuid4(), "one", "192.0.2.1", SINCE, Policy.REJECT, max_connections=2, others=others)
    assert already_connected(held).detail == (
        "The client has 2 connections of at most 2, the oldest, since 2026-01-02T03:04:05+00:00, from 192.0.2.1; "
        "the policy of the client is 'reject'"
    )
