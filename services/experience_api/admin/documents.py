"""The OpenAPI document of the admin API, as it is served and as `docs/api` has it."""

from pathlib import Path

from aiohttp import web

from services.experience_api.admin.operations import OPERATIONS, SECURITY
from shared.http.openapi.document import DOCS, add_document, document, routes_of, text_of, write

_DESCRIPTION = (
    "For operators, on a port of its own (`experience.admin`): clients, consumers, connections and events. Errors are "
    "problem details (RFC 9457)."
)


def add_documents(app: web.Application) -> None:
    """Serve `/openapi.json`."""
    add_document(app, "/openapi.json", lambda: openapi(routes_of(app)))


def openapi(routes: list[tuple[str, str]]) -> str:
    """Return the OpenAPI document of these routes."""
    return text_of(document("Trelay: administration", _DESCRIPTION, routes, OPERATIONS, SECURITY))


def files() -> dict[Path, str]:
    """Return what the files in the documentation hold."""
    return {DOCS / "experience-admin.openapi.json": openapi(list(OPERATIONS))}


if __name__ == "__main__":
    write(files())
