"""The documents agree with the service, and the files in the documentation with the documents."""

import json
from typing import Any

import aiohttp
import jsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from services.experience_api import refusals
from services.experience_api.api.documents import files
from services.experience_api.api.operations import OPERATIONS
from services.experience_api.api.schemas import BATCH, SUBSCRIPTION_CHANGE
from services.experience_api.refusals import Refused
from services.experience_api.sessions.changes import read_change
from tests.integration.services.experience_api.producers import in_memory

OPENAPI, ASYNCAPI = (json.loads(text) for text in files().values())


def test_the_files_are_up_to_date() -> None:
    """`make docs` writes them."""
    for path, text in files().items():
        assert path.read_text() == text, path


def test_the_document_of_the_endpoints_is_valid_by_the_specification() -> None:
    OpenAPIV31SpecValidator(OPENAPI).validate()


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere_and_every_schema_is_one(document: Any) -> None:
    references, schemas = 0, 0
    waiting = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        if not isinstance(node, dict):
            continue
        waiting += node.values()
        if isinstance(reference := node.get("$ref"), str):
            references += 1
            found = document
            for part in reference.removeprefix("#/").split("/"):
                found = found[part]
        for name in ("schema", "payload"):
            if name in node:
                schemas += 1
                jsonschema.Draft202012Validator.check_schema(node[name])
    assert references > 5
    assert schemas > 5


def test_every_refusal_is_in_the_document() -> None:
    codes = {
        code
        for methods in OPENAPI["paths"].values()
        for operation in methods.values()
        for response in operation["responses"].values()
        for media in response.get("content", {}).values()
        for part in media["schema"].get("allOf", [])
        for code in part.get("properties", {}).get("code", {}).get("enum", [])
    }
    assert codes == {refusal.code for refusal in refusals.ALL}


async def test_the_service_serves_what_it_describes_and_answers_as_it_says() -> None:
    options = {"entity": {"allow": ["127.0.0.1"]}, "listen": {"health": None}}
    async with in_memory(options) as service, aiohttp.ClientSession(service.listening.url) as http:
        async with http.get("/openapi.json") as response:
            served = await response.json()
        async with http.get("/asyncapi.json") as response:
            assert await response.json() == ASYNCAPI
        routes = {(method.upper(), path) for path, methods in served["paths"].items() for method in methods}
        assert routes >= OPERATIONS.keys()
        for path, method in (("/healthz", "get"), ("/readyz", "get")):
            async with http.get(path) as response:
                check(served, path, method, response.status, await response.json())
        async with http.post("/entity?channel=a", json=1) as response:
            check(served, "/entity", "post", response.status, await response.json())
        async with http.post("/entity", json=1) as response:
            check(served, "/entity", "post", response.status, await response.json(content_type=None))
        async with http.post("/consumers", headers={"Client-Id": "demo", "Client-Secret": "demo"}) as response:
            check(served, "/consumers", "post", response.status, registered := await response.json())
        bearer = {"Authorization": f"Bearer {registered['token']}"}
        async with http.post("/tickets", headers=bearer) as response:
            check(served, "/tickets", "post", response.status, await response.json())
        async with http.get("/events?wait=0", headers=bearer) as response:
            check(served, "/events", "get", response.status, await response.json())
        async with http.ws_connect("/ws/publish", headers=bearer) as socket:
            message = ASYNCAPI["components"]["messages"]["trelay_connected"]
            jsonschema.validate(await socket.receive_json(), message["payload"])
            async with http.post("/entity?channel=a", json=1) as response:
                await response.read()
            jsonschema.validate(await socket.receive_json(), ASYNCAPI["components"]["messages"]["event"]["payload"])


def check(document: Any, path: str, method: str, status: int, body: Any) -> None:
    """Check that the document names the status, and that the body has its schema."""
    response = document["paths"][path][method]["responses"][str(status)]
    (content,) = response["content"].values()
    jsonschema.validate(body, {**content["schema"], "components": document["components"]})


CONNECTION = "0b0e1a52-6c3f-4f0e-9d56-3f1c8a2b7e10"


@pytest.mark.parametrize(
    "change",
    [
        {"subscribe": ["a"]},
        {"unsubscribe": ["a"]},
        {"subscribe": [], "unsubscribe": ["a"]},
        {"channels": []},
        {"channels": ["a"], "filters": {"a": "x > 1"}, "conflate": "1s"},
        {"channels": None, "subscribe": ["a"], "filters": {"a": None}},
        {"filters": {"a": None}},
        {"conflate": "500ms"},
        {"conflate": None},
        {"conflate": "2s", "filters": {}},
    ],
)
def test_a_change_of_channels_that_is_accepted_is_described(change: dict[str, Any]) -> None:
    body = {"connection": CONNECTION, **change}
    jsonschema.validate(body, SUBSCRIPTION_CHANGE)
    read_change(json.dumps(body).encode())


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"filters": {}},
        {"subscribe": []},
        {"channels": None},
        {"channels": ["a"], "subscribe": ["b"]},
        {"subscribe": "a"},
        {"channel": ["a"]},
        {"conflate": 5},
    ],
)
def test_a_change_of_channels_that_is_refused_is_not_described(change: dict[str, Any]) -> None:
    body = {"connection": CONNECTION, **change}
    assert not jsonschema.Draft202012Validator(SUBSCRIPTION_CHANGE).is_valid(body)
    with pytest.raises(Refused):
        read_change(json.dumps(body).encode())


def test_a_batch_may_say_why_the_service_has_ended_it() -> None:
    reason = {"code": 4000, "reason": "draining; wait=2.5"}
    jsonschema.validate({"cursor": "AQ", "events": [], "closed": reason}, BATCH)
    assert not jsonschema.Draft202012Validator(BATCH).is_valid({"cursor": "AQ", "events": [], "closed": None})
    assert not jsonschema.Draft202012Validator(BATCH).is_valid({"cursor": "AQ", "events": [1]})
