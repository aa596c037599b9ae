import os
import secrets

import pytest


@pytest.fixture
def seed() -> int:
    """Seeds everything random. It is printed; TRELAY_TEST_SEED repeats a run."""
    return int(os.environ.get("TRELAY_TEST_SEED") or secrets.randbits(32))
