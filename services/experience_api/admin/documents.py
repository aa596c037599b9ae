"""The OpenAPI document of the admin API, as it is served and as `docs/api` has it."""

from services.experience_api.admin.operations import OPERATIONS, SECURITY
from shared.http.openapi.document import OpenApi, write

_DESCRIPTION = (
    "For operators, on a port of its own (`experience.admin`): clients, consumers, connections and events. Errors are "
    "problem details (RFC 9457)."
)

OPENAPI = OpenApi("experience-admin", "Trelay: administration", _DESCRIPTION, OPERATIONS, SECURITY)

add_documents, files = OPENAPI.serve, OPENAPI.files

if __name__ == "__main__":
    write(files())
