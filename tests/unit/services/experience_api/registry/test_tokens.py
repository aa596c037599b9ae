import pytest

from services.experience_api.registry.tokens import SigningKey


def test_a_key_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match="'2027': found 31 bytes; expected at least 32"):
        SigningKey("2027", b"x" * 31)
