"""Sharing out partitions: even, sticky, and never to two at once."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.kafka.assignment import Claim, assign, unpack
from shared.errors import Malformed

NAMES = [f"member-{number}" for number in range(6)]


def fresh(name: str) -> Claim:
    return Claim(name, -1, frozenset())


def settle(claims: dict[str, Claim], partitions: int) -> dict[str, frozenset[int]]:
    """Let the members do as told, round by round, until nothing changes; no partition may have two drivers."""
    for generation in range(100, 103):
        given_out = assign(claims, partitions)
        driven = {member: claim.partitions & given_out[member] for member, claim in claims.items()}
        for member, numbers in given_out.items():
            for other, claim in claims.items():
                # Whoever claims a partition may drive it still while its new driver begins.
                assert other == member or not numbers & claim.partitions
        changed = {member: frozenset(numbers) for member, numbers in given_out.items()} != {
            member: claim.partitions for member, claim in claims.items()
        }
        claims = {member: Claim(claims[member].name, generation, frozenset(given_out[member])) for member in claims}
        assert all(driven[member] <= claims[member].partitions for member in claims)
        if not changed:
            break
    return {member: claim.partitions for member, claim in claims.items()}


def held(claims: dict[str, Claim]) -> dict[str, Claim]:
    """Take out what two claim: that is another test's affair."""
    met: set[int] = set()
    cleaned = {}
    for member, claim in claims.items():
        cleaned[member] = Claim(claim.name, claim.generation, claim.partitions - met)
        met |= claim.partitions
    return cleaned


claims_of_some = st.dictionaries(st.sampled_from(NAMES), st.frozensets(st.integers(0, 11)), min_size=1).map(
    lambda owned: held({name: Claim(name, 7, partitions) for name, partitions in owned.items()})
)


@given(claims_of_some, st.integers(1, 12))
def test_within_two_rounds_all_is_driven_evenly(claims: dict[str, Claim], partitions: int) -> None:
    in_range = {
        member: Claim(claim.name, 7, frozenset(number for number in claim.partitions if number < partitions))
        for member, claim in claims.items()
    }
    driven = settle(in_range, partitions)
    assert sorted(number for numbers in driven.values() for number in numbers) == list(range(partitions))
    sizes = [len(numbers) for numbers in driven.values()]
    assert max(sizes) - min(sizes) <= 1
    for member, numbers in driven.items():
        # Nobody loses more than what is above an even share.
        kept = numbers & in_range[member].partitions
        assert len(kept) >= min(len(in_range[member].partitions), partitions // len(claims))


def test_a_newcomer_is_given_nothing_that_is_still_driven() -> None:
    claims = {"1": Claim("a", 3, frozenset({0, 1, 2, 3})), "2": fresh("b")}
    assert assign(claims, 4) == {"1": {0, 1}, "2": set()}
    assert assign({**claims, "1": Claim("a", 4, frozenset({0, 1}))}, 4) == {"1": {0, 1}, "2": {2, 3}}


def test_what_nobody_drives_goes_to_who_has_least() -> None:
    claims = {"1": Claim("a", 3, frozenset({0})), "2": fresh("b"), "3": fresh("c")}
    assert assign(claims, 5) == {"1": {0, 1}, "2": {2, 3}, "3": {4}}


def test_of_two_who_claim_one_the_later_keeps_it() -> None:
    claims = {"1": Claim("a", 3, frozenset({0, 1})), "2": Claim("b", 9, frozenset({0, 1}))}
    assert assign(claims, 2)["2"] == {0}
    assert assign(claims, 2)["1"] == set()


def test_a_partition_that_does_not_exist_is_not_given() -> None:
    assert assign({"1": Claim("a", 3, frozenset({7, -1}))}, 2) == {"1": {0, 1}}


def test_more_members_than_partitions() -> None:
    given_out = assign({name: fresh(name) for name in NAMES}, 2)
    assert sorted(len(numbers) for numbers in given_out.values()) == [0, 0, 0, 0, 1, 1]


@given(st.text(), st.integers(), st.frozensets(st.integers()))
def test_a_claim_comes_back_as_it_was_packed(name: str, generation: int, partitions: frozenset[int]) -> None:
    claim = Claim(name, generation, partitions)
    assert unpack(claim.pack()) == claim


@given(st.binary())
def test_a_strangers_claim_is_read_or_refused(data: bytes) -> None:
    with suppress(Malformed):
        assert isinstance(unpack(data), Claim)


@pytest.mark.parametrize("data", [b"", b"[]", b'["a", 1]', b'["a", 1, [null]]', b"{}", b"\xff", b'["a", NaN, []]'])
def test_what_is_no_claim_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match="not one of ours"):
        unpack(data)
