import pytest
from pydantic import ValidationError

from services.experience_api.latest.options import LatestOptions


def test_a_pattern_is_checked() -> None:
    assert LatestOptions(channels=("orders.**", "news")).deleted_types == ("*.deleted",)
    with pytest.raises(ValidationError, match=r"found 'orders\.'"):
        LatestOptions(channels=("orders.",))
