"""An even share for every replica, with as few moves as possible."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.replicas.assignment import _takers, share_of

SOURCES = [f"s{number:02}" for number in range(9)]


class Deployment:
    """Replicas that look at the same leases, one after the other in any order."""

    def __init__(self, sources: list[str]) -> None:
        self.sources = sources
        self.alive: set[str] = set()
        self.owners: dict[str, str] = {}
        self.moves = 0

    def look(self, replica: str) -> None:
        """Let a replica take and release its share."""
        share = share_of(replica, self.alive, self.owners, self.sources)
        for source in share.release:
            assert self.owners.pop(source) == replica
        for source in share.keep:
            self.moves += self.owners.get(source) != replica
            assert self.owners.setdefault(source, replica) == replica, "never of another"

    def settle(self, rng: random.Random) -> None:
        """Let all replicas look, in a random order, until nothing changes."""
        for _ in range(100):
            order = sorted(self.alive)
            rng.shuffle(order)
            before = dict(self.owners)
            for replica in order:
                self.look(replica)
            if before == self.owners:
                return
        pytest.fail("sources move without end")

    def counts(self) -> list[int]:
        return sorted(list(self.owners.values()).count(replica) for replica in self.alive)


def test_one_replica_runs_all() -> None:
    assert share_of("a", [], {}, SOURCES) == (frozenset(SOURCES), frozenset())


def test_a_replica_that_joins_gets_its_share_and_nothing_else_moves() -> None:
    deployment, rng = Deployment(SOURCES), random.Random(1)
    deployment.alive = {"a"}
    deployment.settle(rng)
    deployment.alive = {"a", "b", "c"}
    deployment.moves = 0
    deployment.settle(rng)
    assert deployment.counts() == [3, 3, 3]
    assert deployment.moves == 6


def test_the_sources_of_a_dead_replica_are_spread_and_no_other_moves() -> None:
    deployment, rng = Deployment(SOURCES), random.Random(1)
    deployment.alive = {"a", "b", "c"}
    deployment.settle(rng)
    deployment.alive.discard("b")
    deployment.owners = {source: owner for source, owner in deployment.owners.items() if owner != "b"}
    kept = dict(deployment.owners)
    deployment.settle(rng)
    assert deployment.counts() == [4, 5]
    assert deployment.owners.items() >= kept.items()


def test_an_owner_of_an_older_release_counts_and_is_not_robbed() -> None:
    owners = dict.fromkeys(SOURCES, "old")
    assert share_of("new", ["new"], owners, SOURCES) == (frozenset(), frozenset())
    del owners["s00"], owners["s01"]
    assert share_of("new", ["new"], owners, SOURCES).keep == {"s00", "s01"}


def test_a_replica_that_was_restarted_keeps_what_it_still_has_leases_of() -> None:
    owners = {source: "ab"[number % 2] for number, source in enumerate(SOURCES)}
    assert share_of("a", ["a", "b"], owners, SOURCES).keep == {s for s, owner in owners.items() if owner == "a"}


def test_free_sources_go_to_each_replica_in_turn_until_it_has_its_quota() -> None:
    assert list(_takers(["a", "b", "c"], {"a": 3, "b": 2, "c": 2}, {"c": 2})) == ["a", "b", "a", "b", "a"]


@given(
    st.integers(0, 40),
    st.lists(st.tuples(st.sampled_from(["join", "kill"]), st.sampled_from("abcdef")), max_size=12),
    st.integers(0, 1000),
)
def test_any_joins_and_deaths_end_in_an_even_spread(count: int, steps: list[tuple[str, str]], seed: int) -> None:
    deployment, rng = Deployment([f"s{number:02}" for number in range(count)]), random.Random(seed)
    for what, replica in steps:
        if what == "join":
            deployment.alive.add(replica)
        else:
            deployment.alive.discard(replica)
            deployment.owners = {source: owner for source, owner in deployment.owners.items() if owner != replica}
        deployment.settle(rng)
        if deployment.alive:
            assert len(deployment.owners) == count, "every source has an owner"
            counts = deployment.counts()
            assert counts[-1] - counts[0] <= 1
