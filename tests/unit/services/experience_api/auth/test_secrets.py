import secrets
from statistics import median
from time import thread_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.experience_api.auth.secrets import CHOSEN_LIMIT, Comparison, generate, hash_secret, is_generated
from shared.errors import Malformed

RNG = secrets.token_bytes


def test_a_generated_secret_has_256_bits_and_is_recognised() -> None:
    secret = generate(lambda size: bytes(range(size)))
    assert secret == "trs_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    assert is_generated(secret)
    assert not is_generated("demo")


@pytest.mark.parametrize(
    ("secret", "scheme"),
    [(generate(RNG), "sha256"), ("demo", "scrypt"), ("pässwörd €", "scrypt")],
    ids=["generated", "chosen", "not ASCII"],
)
def test_a_secret_matches_its_hash(secret: str, scheme: str) -> None:
    stored = hash_secret(secret, RNG)
    assert stored.split("$")[0] == scheme
    assert secret not in stored
    compare = Comparison(RNG)
    assert compare.matches(secret, [stored])
    assert not compare.matches(secret + "x", [stored])
    assert not compare.matches(generate(RNG), [stored])


def test_two_hashes_of_one_secret_differ() -> None:
    assert hash_secret("demo", RNG) != hash_secret("demo", RNG)


def test_no_secret_matches_if_nothing_is_stored() -> None:
    # With a constant rng the digest of the decoy can be computed. Even then it must not match.
    compare = Comparison(lambda size: b"\0" * size)
    assert not compare.matches("demo", [])
    assert not compare.matches(generate(RNG), [])
    assert not compare.matches("", [])


def test_every_stored_secret_matches_and_chosen_ones_share_a_salt() -> None:
    old = hash_secret("old", RNG)
    new = hash_secret("new", RNG, old)
    generated = generate(RNG)
    assert new.split("$")[:5] == old.split("$")[:5]
    assert hash_secret("new", RNG, hash_secret(generated, RNG)).split("$")[4] != old.split("$")[4]
    compare = Comparison(RNG)
    for secret in ("old", "new"):
        assert compare.matches(secret, [new, old])
    assert not compare.matches("other", [new, old])
    assert compare.matches(generated, [hash_secret(generated, RNG), old])
    assert compare.matches("old", [hash_secret(generated, RNG), old])


def test_a_hash_is_compared_with_its_own_parameters() -> None:
    stored = "scrypt$16$1$1$c2FsdA$" + "MEInFT8Xl1kaEMtsv3spqAo4rMXobLmCqN3y6Ph7cXc"
    assert not Comparison(RNG).matches("other", [stored])


@pytest.mark.parametrize("stored", ["", "md5$x$y", "sha256$x", "scrypt$1$2$3"])
def test_a_hash_with_an_unknown_scheme_is_an_error(stored: str) -> None:
    with pytest.raises(Malformed, match="unknown scheme"):
        Comparison(RNG).matches("demo", [stored])


@pytest.mark.parametrize("secret", ["", "a\0b", "a\nb", "x" * (CHOSEN_LIMIT + 1), "é" * CHOSEN_LIMIT])
def test_a_chosen_secret_that_a_header_cannot_carry_is_refused(secret: str) -> None:
    with pytest.raises(Malformed, match="the secret is invalid; expected 1 to 256 bytes"):
        hash_secret(secret, RNG)


@settings(max_examples=20, deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_no_other_secret_matches(presented: str) -> None:
    stored = hash_secret("demo", lambda size: b"s" * size)
    assert Comparison(RNG).matches(presented, [stored]) == (presented == "demo")


@pytest.mark.parametrize("presented", ["wrong", generate(RNG)], ids=["chosen", "generated"])
def test_the_time_does_not_reveal_what_is_stored(presented: str) -> None:
    """Medians of interleaved comparisons, in seconds of this thread; one without scrypt takes a ten-thousandth."""
    compare = Comparison(RNG)
    chosen, generated = hash_secret("demo", RNG), hash_secret(generate(RNG), RNG)
    kinds = {"chosen": [chosen], "generated": [generated], "none": [], "two": [chosen, generated]}
    kinds["overlap"] = [hash_secret("new", RNG, chosen), chosen]
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(9):
        for kind, stored in kinds.items():
            started = thread_time()
            assert not compare.matches(presented, stored)
            took[kind].append(thread_time() - started)
    fastest, *_, slowest = sorted(median(times) for times in took.values())
    assert slowest < 10 * fastest
