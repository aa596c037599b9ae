"""A delivery is stored only if it is verified, and answered only once it is stored."""

import asyncio
import gzip
import logging
import threading
import zlib

import pytest
from multidict import CIMultiDict

from services.system_api.sources.http.webhook.receiver import Request
from services.system_api.sources.http.webhook.refusals import Refused
from shared.expression.document import JsonDocument
from shared.expression.expression import Expression
from tests.servers.webhook_senders import SECRET, github, slack, stripe
from tests.unit.services.system_api.sources.http.webhook.receiving_requests import Receiving, stuck

BODY = b'{"a":1}'


async def test_a_delivery_is_stored_once_however_often_it_comes() -> None:
    receiving = Receiving()
    assert await receiving.code(github(BODY, "d1"), BODY[:3], BODY[3:], size=len(BODY)) == "accepted"
    assert await receiving.code(github(BODY, "d1"), BODY) == "repeated"
    assert await receiving.code(github(BODY, "d2"), BODY) == "accepted"
    assert await receiving.stored() == ["d1", "d2"]
    assert (receiving.count("accepted"), receiving.count("repeated")) == (2, 1)


async def test_a_flood_without_signatures_is_not_read_and_reaches_nothing(caplog: pytest.LogCaptureFixture) -> None:
    receiving = Receiving()
    receiving.inbox.problem = "a request that proves nothing must not come here"
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            assert await receiving.code({"X-GitHub-Delivery": "d"}, BODY) == "signature-missing"
        assert receiving.reads == 0
        for _ in range(100):
            assert await receiving.code(github(BODY, "d", secret="wrong"), BODY) == "signature-wrong"
    assert receiving.count("signature_missing") == receiving.count("signature_wrong") == 100
    assert [record.message for record in caplog.records] == ["webhook refused"]


async def test_while_the_database_does_not_answer_nothing_is_accepted() -> None:
    receiving = Receiving()
    receiving.inbox.problem = "away"
    with pytest.raises(Refused) as refused:
        await receiving.send(github(BODY, "d1"), BODY)
    assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "5"})
    receiving.inbox.problem = None
    assert await receiving.code(github(BODY, "d1"), BODY) == "accepted"


async def test_a_full_inbox_refuses_until_there_is_room() -> None:
    receiving = Receiving(inbox_limit=1)
    assert await receiving.code(github(BODY, "d1"), BODY) == "accepted"
    assert await receiving.code(github(BODY, "d2"), BODY) == "inbox-full"
    assert await receiving.code(github(BODY, "d1"), BODY) == "repeated"
    await receiving.inbox.remove("hooks", 1)
    assert await receiving.code(github(BODY, "d2"), BODY) == "accepted"


async def test_bodies_are_bounded() -> None:
    receiving = Receiving(body_limit=1024)
    large = b"x" * 1025
    assert await receiving.code(github(large, "d"), large, size=1025) == "too-large"
    assert receiving.reads == 0
    assert await receiving.code(github(large, "d"), large[:600], large[600:]) == "too-large"
    assert await receiving.code(github(large[1:], "d"), large[1:]) == "accepted"


@pytest.mark.parametrize(
    ("encoding", "body", "outcome"),
    [
        ("gzip", gzip.compress(BODY), "accepted"),
        ("gzip", gzip.compress(BODY)[:-1], "malformed"),
        ("gzip", BODY, "malformed"),
        ("deflate", zlib.compress(BODY), "accepted"),
        ("gzip", gzip.compress(b"x" * 1025), "too-large"),
        ("br", BODY, "unsupported-type"),
        ("gzip, gzip", gzip.compress(BODY), "unsupported-type"),
        ("utf-8", BODY, "accepted"),
    ],
)
async def test_a_compressed_body(encoding: str, body: bytes, outcome: str) -> None:
    receiving = Receiving(body_limit=1024)
    headers = {**github(BODY, "d"), "Content-Encoding": encoding}
    assert await receiving.code(headers, body[:5], body[5:]) == outcome
    assert receiving.count(outcome.replace("-", "_")) == 1


async def test_a_large_body_is_verified_too() -> None:
    receiving = Receiving()
    large = b'"%b"' % (b"x" * 300_000)
    assert await receiving.code(github(large, "d"), large) == "accepted"
    assert await receiving.code(github(large, "e", secret="wrong"), large) == "signature-wrong"


async def test_a_body_that_stops_is_refused() -> None:
    receiving = Receiving(body_timeout=0.01)
    with pytest.raises(Refused, match="did not arrive in time"):
        await receiving.receiver.receive(Request(CIMultiDict(github(BODY, "d")), None, stuck, ""))


async def test_too_many_at_once_are_refused() -> None:
    receiving = Receiving(max_concurrent=1)
    first = asyncio.ensure_future(receiving.receiver.receive(Request(CIMultiDict(github(BODY, "d")), None, stuck, "")))
    await asyncio.sleep(0)
    assert await receiving.code(github(BODY, "e"), BODY) == "busy"
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert receiving.count("failed") == 1
    assert await receiving.code(github(BODY, "e"), BODY) == "accepted"


async def test_the_rate_counts_what_is_verified() -> None:
    receiving = Receiving(rate=2)
    for _ in range(5):
        assert await receiving.code(github(BODY, "x", secret="wrong"), BODY) == "signature-wrong"
    codes = [await receiving.code(github(BODY, f"d{number}"), BODY) for number in range(3)]
    assert codes == ["accepted", "accepted", "rate-limited"]
    receiving.clock.at += 1
    assert await receiving.code(github(BODY, "d2"), BODY) == "accepted"


async def test_a_challenge_is_answered_and_not_stored() -> None:
    receiving = Receiving(verify={"kind": "slack", "secrets": [SECRET]})
    body = b'{"type":"url_verification","challenge":"c"}'
    answer = await receiving.send(slack(body, receiving.clock.at), body)
    assert (answer.outcome, answer.challenge) == ("challenge", b'{"challenge":"c"}')
    assert await receiving.code(slack(body, receiving.clock.at - 301), body) == "timestamp-outside-tolerance"
    assert await receiving.stored() == []


async def test_secrets_are_rotated() -> None:
    receiving = Receiving(verify={"kind": "stripe", "secrets": ["new", "old"]})
    body = b'{"id":"evt_1"}'
    assert await receiving.code(stripe(body, receiving.clock.at, "old"), body) == "accepted"
    assert await receiving.code(stripe(body, receiving.clock.at, "new"), body) == "repeated"
    assert await receiving.code(stripe(b"{}", receiving.clock.at, "new"), b"{}") == "delivery-id-missing"


async def test_the_expression_of_a_large_body_is_evaluated_outside_the_event_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = list[int]()
    value = Expression.value

    def note(expression: Expression, document: JsonDocument) -> bytes | None:
        threads.append(threading.get_ident())
        return value(expression, document)

    monkeypatch.setattr(Expression, "value", note)
    receiving, padding = Receiving(delivery_id="id"), b"x" * 300_000
    small, large, without = b'{"id":"d1"}', b'{"id":"d2","x":"%b"}' % padding, b'{"x":"%b"}' % padding
    assert await receiving.code(github(small, "h"), small) == "accepted"
    assert await receiving.code(github(large, "h"), large) == "accepted"
    assert await receiving.code(github(large, "h"), large) == "repeated"
    assert await receiving.code(github(without, "h"), without) == "delivery-id-missing"
    assert await receiving.stored() == ["d1", "d2"]
    assert [thread == threading.get_ident() for thread in threads] == [True, False, False, False]
