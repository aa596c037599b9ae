"""`trelay probe` against a real experience layer, in memory."""

import asyncio
import json

import pytest

from services.cli import main
from tests.integration.services.experience_api.producers import in_memory

TOKEN = "0123456789abcdef01234567"
CREDENTIALS = ("--client-id", "demo", "--client-secret", "demo")
ALLOWED = {"entity": {"allow": ["127.0.0.1"]}}
PRODUCER = {"entity": {"producers": {"probe": {"tokens": [TOKEN], "channels": ["trelay-probe"]}}}}


async def probed(url: str, *more: str, credentials: tuple[str, ...] = CREDENTIALS) -> int:
    return await asyncio.to_thread(main, ["probe", url, *credentials, *more])


async def test_an_event_that_arrives_is_told_with_its_times(capsys: pytest.CaptureFixture[str]) -> None:
    async with in_memory(ALLOWED) as service:
        assert await probed(service.listening.url) == 0
        assert capsys.readouterr().out.startswith("OK: connect 0.")
        assert await probed(service.listening.url, "--json", "--channel", "other") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["channel"]) == (True, "other")
    assert found["total_s"] == pytest.approx(found["connect_s"] + found["push_s"] + found["deliver_s"], abs=0.001)


async def test_a_producer_pushes_with_its_token(capsys: pytest.CaptureFixture[str]) -> None:
    async with in_memory(PRODUCER) as service:
        url = service.listening.url
        assert await probed(url, "--producer-token", TOKEN) == 0
        capsys.readouterr()
        assert await probed(url) == 1
        assert "failed to push: POST /entity answered 401: found no token of a producer" in capsys.readouterr().out
        assert await probed(url, "--producer-token", TOKEN, "--channel", "other", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["step"]) == (False, "push")
    assert "answered 403: channel 'other'" in found["error"]
    assert "connect_s" in found


async def test_a_client_that_is_refused_and_a_service_that_is_not_there_are_failures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with in_memory(ALLOWED) as service:
        wrong = ("--client-id", "demo", "--client-secret", "wrong")
        assert await probed(service.listening.url, credentials=wrong) == 1
        assert capsys.readouterr().out.startswith("failed to connect: ")
        url = service.listening.url
    assert await probed(url, "--timeout", "0.5") == 1
    assert capsys.readouterr().out.startswith("failed to connect: not done within 0.5 s; ")


async def test_an_address_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert await probed("nowhere") == 2
    assert capsys.readouterr().out == ""
