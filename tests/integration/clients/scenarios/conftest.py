import pytest

from tests.integration.clients.javascript.conftest import library
from tests.integration.clients.scenarios.programs import Start, javascript, python
from tests.integration.services.experience_api.conftest import deployment

__all__ = ["deployment", "library"]


@pytest.fixture(params=["python", "javascript"])
def start(request: pytest.FixtureRequest) -> Start:
    """Runs a program with one of the libraries."""
    return python if request.param == "python" else javascript(request.getfixturevalue("library"))
