from pathlib import Path

import pytest

from tests.integration.clients.javascript.library import built
from tests.integration.services.experience_api.conftest import deployment, replica
from tests.servers.missing import skipping_without

__all__ = ["deployment", "replica"]


@pytest.fixture(scope="session")
def library(pytestconfig: pytest.Config) -> Path:
    """The modules of the JavaScript client."""
    with skipping_without("Node", pytestconfig):
        return built()
