"""Assignment of partitions: even, sticky, and never to two members at once."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.kafka.assignment import Subscription, assign
from shared.errors import Malformed

NAMES = [f"member-{number}" for number in range(6)]


def new_member(name: str) -> Subscription:
    return Subscription(name, -1, frozenset())


def rebalance(members: dict[str, Subscription], partitions: int) -> dict[str, frozenset[int]]:
    """Let the members follow assignments until nothing changes; no partition may have two owners."""
    for generation in range(100, 103):
        assigned = assign(members, partitions)
        kept = {member: subscription.owned & assigned[member] for member, subscription in members.items()}
        for member, numbers in assigned.items():
            for other, subscription in members.items():
                # The worker of a member that claims a partition may still run when the worker of another one starts.
                assert other == member or not numbers & subscription.owned
        changed = {member: frozenset(numbers) for member, numbers in assigned.items()} != {
            member: subscription.owned for member, subscription in members.items()
        }
        members = {
            member: Subscription(members[member].name, generation, frozenset(assigned[member])) for member in members
        }
        assert all(kept[member] <= members[member].owned for member in members)
        if not changed:
            break
    return {member: subscription.owned for member, subscription in members.items()}


def without_conflicts(members: dict[str, Subscription]) -> dict[str, Subscription]:
    """Let no two members claim one partition; another test does that."""
    claimed: set[int] = set()
    cleaned = {}
    for member, subscription in members.items():
        cleaned[member] = Subscription(subscription.name, subscription.generation, subscription.owned - claimed)
        claimed |= subscription.owned
    return cleaned


groups = st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.integers(0, 11)), min_size=1).map(
    lambda owned: without_conflicts({name: Subscription(name, 7, partitions) for name, partitions in owned.items()})
)


@given(groups, st.integers(1, 12))
def test_within_two_rounds_all_partitions_are_assigned_evenly(
    members: dict[str, Subscription], partitions: int
) -> None:
    in_range = {
        member: Subscription(
            subscription.name, 7, frozenset(number for number in subscription.owned if number < partitions)
        )
        for member, subscription in members.items()
    }
    owned = rebalance(in_range, partitions)
    assert sorted(number for numbers in owned.values() for number in numbers) == list(range(partitions))
    sizes = [len(numbers) for numbers in owned.values()]
    assert max(sizes) - min(sizes) <= 1
    for member, numbers in owned.items():
        # No member loses more than what it has above an equal share.
        kept = numbers & in_range[member].owned
        assert len(kept) >= min(len(in_range[member].owned), partitions // len(members))


def test_a_new_member_gets_no_partition_that_is_still_owned() -> None:
    members = {"1": Subscription("a", 3, frozenset({0, 1, 2, 3})), "2": new_member("b")}
    assert assign(members, 4) == {"1": {0, 1}, "2": set()}
    assert assign({**members, "1": Subscription("a", 4, frozenset({0, 1}))}, 4) == {"1": {0, 1}, "2": {2, 3}}


def test_free_partitions_go_to_the_members_that_own_least() -> None:
    members = {"1": Subscription("a", 3, frozenset({0})), "2": new_member("b"), "3": new_member("c")}
    assert assign(members, 5) == {"1": {0, 1}, "2": {2, 3}, "3": {4}}


def test_if_two_members_claim_a_partition_the_later_generation_keeps_it() -> None:
    members = {"1": Subscription("a", 3, frozenset({0, 1})), "2": Subscription("b", 9, frozenset({0, 1}))}
    assert assign(members, 2)["2"] == {0}
    assert assign(members, 2)["1"] == set()


def test_a_partition_that_does_not_exist_is_not_assigned() -> None:
    assert assign({"1": Subscription("a", 3, frozenset({7, -1}))}, 2) == {"1": {0, 1}}


def test_more_members_than_partitions() -> None:
    assigned = assign({name: new_member(name) for name in NAMES}, 2)
    assert sorted(len(numbers) for numbers in assigned.values()) == [0, 0, 0, 0, 1, 1]


@given(st.text(), st.integers(), st.frozensets(st.integers()))
def test_a_subscription_is_decoded_as_it_was_encoded(name: str, generation: int, owned: frozenset[int]) -> None:
    subscription = Subscription(name, generation, owned)
    assert Subscription.decode(subscription.encode()) == subscription


@given(st.binary())
def test_user_data_of_another_program_is_decoded_or_refused(data: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(Subscription.decode(data), Subscription)


@pytest.mark.parametrize("data", [b"", b"[]", b'["a", 1]', b'["a", 1, [null]]', b"{}", b"\xff", b'["a", NaN, []]'])
def test_malformed_user_data_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match="not one of Trelay's"):
        Subscription.decode(data)
