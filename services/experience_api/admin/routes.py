"""The endpoints of the admin API for clients, consumers and connections. Each change has a line in the audit log."""

from collections.abc import Sequence

import msgspec
from aiohttp import web

from services.experience_api.admin.authorized import Authorized, answer
from services.experience_api.admin.clients import ClientAdmin, NewClient, UnknownClient
from services.experience_api.admin.consumers import ConsumerAdmin
from services.experience_api.admin.requests import (
    Page,
    check_empty,
    read_change,
    read_connection,
    read_new_client,
    read_page,
    read_rotate,
)
from services.experience_api.admin.views import View
from services.experience_api.auth.credentials import CLIENT_ID
from shared.http.commands import audit, refuse
from shared.http.operators import Operator

_CREATED = 201


class AdminRoutes:
    """Handles the requests of operators."""

    def __init__(self, clients: ClientAdmin, consumers: ConsumerAdmin, authorized: Authorized) -> None:
        self._clients = clients
        self._consumers = consumers
        self._authorized = authorized

    def add_to(self, app: web.Application) -> None:
        """Add the endpoints."""
        authorized, router = self._authorized, app.router
        router.add_get("/clients", authorized(self._list))
        router.add_post("/clients", authorized(self._add))
        router.add_get("/clients/{client_id}", authorized(self._show))
        router.add_patch("/clients/{client_id}", authorized(self._change))
        router.add_delete("/clients/{client_id}", authorized(self._remove))
        router.add_post("/clients/{client_id}/rotate", authorized(self._rotate))
        router.add_post("/clients/{client_id}/disable", authorized(self._disable))
        router.add_post("/clients/{client_id}/enable", authorized(self._enable))
        router.add_post("/clients/{client_id}/revoke", authorized(self._revoke))
        router.add_get("/consumers", authorized(self._list_consumers))
        router.add_get("/consumers/{client_id}", authorized(self._show_consumer))
        router.add_delete("/connections/{connection_id}", authorized(self._disconnect))

    async def _list(self, request: web.Request, _operator: Operator) -> web.Response:
        page = read_page(request.query)
        return _paged("clients", await self._clients.page(page.after, page.limit + 1), page)

    async def _add(self, request: web.Request, operator: Operator) -> web.Response:
        body = read_new_client(await request.read())
        found = await self._clients.add(NewClient(**msgspec.structs.asdict(body)))
        audit("client-add", operator, client_id=body.client_id, channels=list(body.channels), note=body.note)
        return answer(found, _CREATED)

    async def _show(self, request: web.Request, _operator: Operator) -> web.Response:
        return answer(await self._clients.show(_client_id(request)))

    async def _change(self, request: web.Request, operator: Operator) -> web.Response:
        client_id, change = _client_id(request), read_change(await request.read())
        found = await self._clients.change(client_id, change)
        changed = {name: str(value) for name, value in change.members.items()}
        audit("client-set", operator, client_id=client_id, changed=changed)
        return answer(found)

    async def _remove(self, request: web.Request, operator: Operator) -> web.Response:
        client_id = await _alone(request)
        found = await self._clients.remove(client_id)
        audit("client-remove", operator, client_id=client_id)
        return answer(found)

    async def _rotate(self, request: web.Request, operator: Operator) -> web.Response:
        client_id, body = _client_id(request), read_rotate(await request.read())
        found = await self._clients.rotate(client_id, body.overlap, body.secret)
        audit("client-rotate", operator, client_id=client_id, overlap_s=body.overlap)
        return answer(found)

    async def _disable(self, request: web.Request, operator: Operator) -> web.Response:
        client_id = await _alone(request)
        found = await self._clients.disable(client_id)
        audit("client-disable", operator, client_id=client_id)
        return answer(found)

    async def _enable(self, request: web.Request, operator: Operator) -> web.Response:
        client_id = await _alone(request)
        found = await self._clients.enable(client_id)
        audit("client-enable", operator, client_id=client_id)
        return answer(found)

    async def _revoke(self, request: web.Request, operator: Operator) -> web.Response:
        client_id = await _alone(request)
        found = await self._clients.revoke(client_id)
        audit("client-revoke", operator, client_id=client_id)
        return answer(found)

    async def _list_consumers(self, request: web.Request, _operator: Operator) -> web.Response:
        page = read_page(request.query)
        return _paged("consumers", await self._consumers.page(page.after, page.limit + 1), page)

    async def _show_consumer(self, request: web.Request, _operator: Operator) -> web.Response:
        return answer(await self._consumers.show(_client_id(request)))

    async def _disconnect(self, request: web.Request, operator: Operator) -> web.Response:
        check_empty(await request.read())
        text = request.match_info["connection_id"]
        connection_id = read_connection(text)
        client_id = None if connection_id is None else await self._consumers.disconnect(connection_id)
        if client_id is None:
            refuse(404, f"found no connection {text[:80]!r}; GET /consumers lists them")
        audit("disconnect", operator, client_id=client_id, connection_id=str(connection_id))
        return answer({"connection_id": str(connection_id), "client_id": client_id, "disconnected": True})


async def _alone(request: web.Request) -> str:
    """Return the client of a request without a body."""
    check_empty(await request.read())
    return _client_id(request)


def _client_id(request: web.Request) -> str:
    found = request.match_info["client_id"]
    if not CLIENT_ID.fullmatch(found):
        raise UnknownClient(found)
    return found


def _paged(name: str, found: Sequence[View], page: Page) -> web.Response:
    """Answer a page of which one entry more was read than it has, to know whether there is a next one."""
    shown = found[: page.limit]
    following = shown[-1]["client_id"] if len(found) > page.limit else None
    return answer({name: shown, "next": following})
