import pytest

from services.experience_api.registry.tokens import SigningKey, kept_tokens


def test_a_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="'2027': found 31 bytes; expected at least 32"):
        SigningKey("2027", b"x" * 31)


def test_the_tokens_in_use_and_the_last_used_others_stay_valid_beside_a_new_one() -> None:
    known = {bytes([number]): float(number) for number in range(20)}
    in_use = {b"\x00", b"\x02", b"not known"}
    kept = kept_tokens(known, in_use, 3)
    assert kept == {each: at for each, at in known.items() if each in in_use or at > 10}
    assert len(kept_tokens(known, in_use, 12)) == 2 + 11
    assert kept_tokens({}, in_use, 2) == {}
