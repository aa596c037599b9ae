from tests.integration.clients.javascript.conftest import library
from tests.integration.services.experience_api.conftest import deployment

__all__ = ["deployment", "library"]
