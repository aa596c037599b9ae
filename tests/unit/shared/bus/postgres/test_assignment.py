"""Decisions of members converge: to equal numbers, with every partition claimed by one member."""

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.postgres.assignment import Claim, decide

NAMES = ("a", "b", "c", "d", "e")


def converge(alive: set[str], claims: dict[int, Claim], partitions: int) -> int:
    """Let the members act in turns until none has anything to do; return how many partitions were moved."""
    moved = 0
    for _ in range(2 * len(NAMES)):
        acted = False
        for member in sorted(alive):
            decision = decide(member, alive, claims, partitions)
            acted = acted or bool(decision.release or decision.claim)
            for number in decision.release:
                claims[number] = Claim(member, live=False)
                moved += 1
            for number in decision.claim:
                assert number not in claims or not claims[number].live
                claims[number] = Claim(member, live=True)
        if not acted:
            return moved
    raise AssertionError("they do not converge")


def owned_by(claims: dict[int, Claim], member: str) -> set[int]:
    return {number for number, claim in claims.items() if claim.live and claim.member == member}


@given(st.integers(1, 20), st.lists(st.sets(st.sampled_from(NAMES), min_size=1), min_size=1, max_size=6))
def test_numbers_are_equal_after_every_change(partitions: int, history: list[set[str]]) -> None:
    claims: dict[int, Claim] = {}
    for alive in history:
        for number, claim in claims.items():
            claims[number] = Claim(claim.member, claim.live and claim.member in alive)
        converge(alive, claims, partitions)
        sizes = [len(owned_by(claims, member)) for member in alive]
        assert sum(sizes) == partitions
        assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 20), st.sets(st.sampled_from(NAMES), min_size=2))
def test_a_new_member_takes_no_more_than_its_quota_from_the_others(partitions: int, alive: set[str]) -> None:
    newcomer = max(alive)
    claims: dict[int, Claim] = {}
    converge(alive - {newcomer}, claims, partitions)
    moved = converge(alive, claims, partitions)
    assert moved <= partitions // len(alive) + 1


def test_a_restarted_member_gets_the_partitions_that_it_had() -> None:
    claims: dict[int, Claim] = {}
    converge({"a", "b"}, claims, 4)
    before = owned_by(claims, "b")
    for number in before:
        claims[number] = Claim("b", live=False)  # its lease has a new epoch
    assert set(decide("b", {"a", "b"}, claims, 4).claim) == before
    assert decide("a", {"a", "b"}, claims, 4).claim == ()


def test_a_member_that_is_not_visible_yet_counts_itself() -> None:
    assert decide("b", {"a"}, {}, 4).claim == (0, 1)
