from services.experience_api.auth.keyring import Keyring
from services.experience_api.registry.tokens import SigningKey

NEWEST, MIDDLE, OLDEST = (SigningKey(name, name.encode() * 32) for name in ("c", "b", "a"))


def test_the_newest_key_signs_at_once_without_a_delay() -> None:
    ring = Keyring([NEWEST, OLDEST], sign_after=0, now=7)
    assert ring.keys == (NEWEST, OLDEST)
    assert ring.signing(7) is NEWEST


def test_a_new_key_signs_once_every_replica_can_know_it() -> None:
    ring = Keyring([OLDEST], sign_after=300, now=1000)
    assert ring.signing(1000) is OLDEST
    ring.replace([NEWEST, OLDEST], 2000)
    assert ring.signing(2299) is OLDEST
    assert ring.signing(2300) is NEWEST


def test_the_oldest_key_signs_while_all_are_new() -> None:
    """After a start, it is not known which of them the other replicas know."""
    ring = Keyring([NEWEST, MIDDLE, OLDEST], sign_after=300, now=1000)
    assert ring.signing(1299) is OLDEST
    assert ring.signing(1300) is NEWEST


def test_a_key_that_was_removed_is_new_when_it_comes_back() -> None:
    ring = Keyring([NEWEST, OLDEST], sign_after=300, now=0)
    ring.replace([OLDEST], 1000)
    assert ring.keys == (OLDEST,)
    ring.replace([NEWEST, OLDEST], 2000)
    assert ring.signing(2001) is OLDEST


def test_a_clock_that_is_set_back_delays_a_key() -> None:
    ring = Keyring([NEWEST, OLDEST], sign_after=300, now=1000)
    assert ring.signing(10) is OLDEST
