"""The documents of this service, as they are served and as `docs/api` has them."""

from pathlib import Path

from aiohttp import web

from services.experience_api.api.asyncapi import asyncapi
from services.experience_api.api.operations import OPERATIONS, SECURITY
from shared.bus.topics import TopicsOptions
from shared.http.openapi.document import DOCS, OpenApi, add_document, text_of, write

_DESCRIPTION = (
    "Registers clients, delivers events to subscribers, and accepts pushed events. Errors are problem details (RFC "
    "9457)."
)


OPENAPI = OpenApi("experience", "Trelay: experience layer", _DESCRIPTION, OPERATIONS, SECURITY)


def add_documents(app: web.Application, topics: TopicsOptions) -> None:
    """Serve `/openapi.json` and `/asyncapi.json`."""
    add_document(app, "/asyncapi.json", lambda: text_of(asyncapi(topics)))
    OPENAPI.serve(app)


def files() -> dict[Path, str]:
    """Return what the files in the documentation hold."""
    return {**OPENAPI.files(), DOCS / "experience.asyncapi.json": text_of(asyncapi(TopicsOptions()))}


if __name__ == "__main__":
    write(files())
