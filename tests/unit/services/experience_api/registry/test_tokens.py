import pytest

from services.experience_api.registry.tokens import SigningKey


def test_a_key_that_can_be_guessed_is_refused() -> None:
    with pytest.raises(ValueError, match="'2027' has 31 bytes, 32 are the least"):
        SigningKey("2027", b"x" * 31)
