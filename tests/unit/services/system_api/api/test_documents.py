"""The file in the documentation agrees with the code; `test_routes` checks answers of the service against it."""

from openapi_spec_validator import OpenAPIV31SpecValidator

from services.system_api.api.documents import files
from services.system_api.api.operations import OPERATIONS
from tests.described import Described

OPENAPI = Described(files())


def test_the_file_is_up_to_date() -> None:
    """`make docs` writes it."""
    assert OPENAPI.path.read_text() == OPENAPI.text


def test_the_document_is_valid_and_has_every_operation() -> None:
    OpenAPIV31SpecValidator(OPENAPI.document).validate()
    assert OPENAPI.routes == OPERATIONS.keys()
