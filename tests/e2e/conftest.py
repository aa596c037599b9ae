import os
import secrets

import pytest


@pytest.fixture
def seed() -> int:
    """Of everything that is left to chance; printed, and given by TRELAY_TEST_SEED to see a run again."""
    return int(os.environ.get("TRELAY_TEST_SEED") or secrets.randbits(32))
