"""The OpenAPI document of the system layer, as it is served and as `docs/api` has it."""

from pathlib import Path

from aiohttp import web

from services.system_api.api.operations import OPERATIONS, SECURITY
from shared.http.openapi.document import DOCS, add_document, document, routes_of, text_of, write

_DESCRIPTION = (
    "Shows and controls sources, and receives webhooks. Without operators (`system.operators`), commands are accepted "
    "from the same machine only. Errors are problem details (RFC 9457)."
)


def add_documents(app: web.Application) -> None:
    """Serve `/openapi.json`, of the routes that the application has by the first request."""
    add_document(app, "/openapi.json", lambda: openapi(routes_of(app)))


def openapi(routes: list[tuple[str, str]]) -> str:
    """Return the OpenAPI document of these routes."""
    return text_of(document("Trelay: system layer", _DESCRIPTION, routes, OPERATIONS, SECURITY))


def files() -> dict[Path, str]:
    """Return what the files in the documentation hold."""
    return {DOCS / "system.openapi.json": openapi(list(OPERATIONS))}


if __name__ == "__main__":
    write(files())
