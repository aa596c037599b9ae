"""Members that decide for themselves come to rest, with equal shares and nothing driven twice or by nobody."""

from hypothesis import given
from hypothesis import strategies as st

from shared.bus.postgres.sharing import Claim, share

NAMES = ("a", "b", "c", "d", "e")


def settle(living: set[str], claims: dict[int, Claim], partitions: int) -> int:
    """Let the members act in turns until nobody has anything to do; return how many partitions were moved."""
    moved = 0
    for _ in range(2 * len(NAMES)):
        acted = False
        for member in sorted(living):
            decided = share(member, living, claims, partitions)
            acted = acted or bool(decided.give or decided.take)
            for number in decided.give:
                claims[number] = Claim(member, live=False)
                moved += 1
            for number in decided.take:
                assert number not in claims or not claims[number].live
                claims[number] = Claim(member, live=True)
        if not acted:
            return moved
    raise AssertionError("they do not come to rest")


def held(claims: dict[int, Claim], member: str) -> set[int]:
    return {number for number, claim in claims.items() if claim.live and claim.member == member}


@given(st.integers(1, 20), st.lists(st.sets(st.sampled_from(NAMES), min_size=1), min_size=1, max_size=6))
def test_shares_are_equal_after_every_change(partitions: int, history: list[set[str]]) -> None:
    claims: dict[int, Claim] = {}
    for living in history:
        for number, claim in claims.items():
            claims[number] = Claim(claim.member, claim.live and claim.member in living)
        settle(living, claims, partitions)
        sizes = [len(held(claims, member)) for member in living]
        assert sum(sizes) == partitions
        assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 20), st.sets(st.sampled_from(NAMES), min_size=2))
def test_a_newcomer_takes_no_more_than_its_share_from_the_others(partitions: int, living: set[str]) -> None:
    newcomer = max(living)
    claims: dict[int, Claim] = {}
    settle(living - {newcomer}, claims, partitions)
    moved = settle(living, claims, partitions)
    assert moved <= partitions // len(living) + 1


def test_who_comes_back_gets_what_was_its_own() -> None:
    claims: dict[int, Claim] = {}
    settle({"a", "b"}, claims, 4)
    had = held(claims, "b")
    for number in had:
        claims[number] = Claim("b", live=False)  # its lease has a new epoch
    assert set(share("b", {"a", "b"}, claims, 4).take) == had
    assert share("a", {"a", "b"}, claims, 4).take == ()


def test_a_member_that_nobody_sees_yet_counts_itself() -> None:
    assert share("b", {"a"}, {}, 4).take == (0, 1)
