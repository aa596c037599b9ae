"""The OpenAPI document of the process layer, as it is served and as `docs/api` has it."""

from services.process_api.api.operations import OPERATIONS, SECURITY
from shared.http.openapi.document import OpenApi, write

_DESCRIPTION = (
    "Shows and controls pipelines and dead letters. Without operators (`process.operators`), commands are accepted "
    "from the same machine only. Errors are problem details (RFC 9457)."
)

OPENAPI = OpenApi("process", "Trelay: process layer", _DESCRIPTION, OPERATIONS, SECURITY)

add_documents, files = OPENAPI.serve, OPENAPI.files

if __name__ == "__main__":
    write(files())
