"""Against real listeners of services."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from services.cli.status.collecting import Address, collect
from services.cli.status.overview import Answer
from shared.http.server import Health, HealthOptions, ListenOptions, application, serve
from tests.unit.services.cli.status.deployment import source


async def ask(
    routes: Mapping[str, Any], *, own_health: bool = False, token: str | None = None, as_health: bool = True
) -> Answer:
    """Ask a service with these routes."""
    listen = ListenOptions(port=0, health=HealthOptions(port=0) if own_health else None)
    health = Health("system_api")
    app = application(listen, health)
    for path, handler in routes.items():
        app.router.add_get(path, handler)
    async with serve(app, listen, health) as listening:
        address = Address(listening.url, listening.health_url if as_health else listening.url)
        (answer,) = await collect([address], token, None)
    return answer


async def test_a_service_answers_for_itself_and_its_sources() -> None:
    seen: list[str | None] = []

    async def sources(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({"orders": source()})

    for own_health in (False, True):
        answer = await ask({"/sources": sources}, own_health=own_health, token="t")
        assert answer.error is None
        assert answer.ready is not None
        assert answer.ready["ready"]
        assert answer.samples is not None
        assert answer.samples.label("trelay_build_info", "service") == "system_api"
        assert answer.sources is not None
        assert answer.sources.keys() == {"orders"}
        assert answer.pipelines is None
    assert seen == ["Bearer t", "Bearer t"]


async def test_a_token_that_is_missing_is_named() -> None:
    async def sources(_request: web.Request) -> web.Response:
        return web.json_response({"detail": "expected a token"}, status=401)

    answer = await ask({"/sources": sources})
    assert answer.error is None
    assert answer.samples is not None
    assert answer.refused is not None
    assert answer.refused.endswith("/sources answers 401: expected a token")


async def test_what_is_no_service_is_named() -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>\x1b[31m</html>")

    answer = await ask({"/sources": page})
    assert answer.error is not None
    assert "answers no JSON object; expected a service of Trelay" in answer.error


async def test_metrics_on_another_listener_are_named() -> None:
    answer = await ask({}, own_health=True, as_health=False)
    assert answer.error == "/metrics answers 404; expected the listener of health and metrics"


async def test_an_address_without_a_service_has_its_reason(unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}"
    (answer,) = await collect([Address(url, url, guessed=True)], None, None)
    assert answer.error is not None
    assert answer.error == f"{url}: Connection refused"
    assert answer.guessed


async def test_a_replica_whose_sources_do_not_answer_is_not_unreachable() -> None:
    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    async def cut(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    for handler, reason in (
        (hang, "shows no sources or pipelines within 5 s"),
        (cut, "Server disconnected"),
    ):
        answer = await ask({"/sources": handler})
        assert answer.error is None
        assert answer.ready is not None
        assert answer.samples is not None
        assert answer.refused is not None
        assert answer.refused.endswith(reason)


async def test_a_proxy_that_refuses_is_not_a_replica_that_is_unreachable() -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(text="<html>", status=502)

    proxy = web.Application()
    proxy.router.add_get("/sources", refuse)
    listen, health = ListenOptions(port=0), Health("system_api")
    async with (
        TestServer(proxy, host="127.0.0.1") as front,
        serve(application(listen, health), listen, health) as replica,
    ):
        url = str(front.make_url("")).rstrip("/")
        (answer,) = await collect([Address(url, replica.health_url)], None, None)
    assert answer.error is None
    assert answer.refused == f"{url}/sources answers 502"
