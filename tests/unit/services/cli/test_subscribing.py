import asyncio
import json
from pathlib import Path

import pytest
import trustme

from services.cli import main
from services.cli.subscribing import Subscription, _until_signal
from tests.unit.clients.python.trelay_client.fake_server import CREDENTIALS, FakeServer, connected, event, session
from trelay_client import CursorFile, Stopped


def subscription(stage: FakeServer, **more: object) -> Subscription:
    given: dict[str, object] = {
        "channels": [],
        "cursor": None,
        "cursor_file": None,
        "filters": {},
        "since": None,
        "snapshot": False,
        "conflate": None,
        "watermarks": None,
        "count": None,
        "ssl_context": None,
        "quiet": False,
    }
    return Subscription(url=stage.url, credentials=CREDENTIALS, **{**given, **more})  # type: ignore[arg-type]


async def test_prints_each_event_as_a_line_and_leaves_after_so_many(capsys: pytest.CaptureFixture[str]) -> None:
    async with FakeServer(
        session(connected(channels=["orders.**"]), event(1), event(2), event(3), stay=True)
    ).up() as stage:
        await _until_signal(subscription(stage, count=2))
    captured = capsys.readouterr()
    assert [json.loads(line)["id"] for line in captured.out.splitlines()] == ["1", "2"]
    assert captured.err == "connected, to orders.**; the next event comes after cursor start\n"


async def test_keeps_the_cursor_in_a_file_and_resumes_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = CursorFile(tmp_path / "cursor")
    async with FakeServer(session(event(1), event(2), stay=True), session(event(3), stay=True)).up() as stage:
        await _until_signal(subscription(stage, count=2, cursor_file=file))
        assert (tmp_path / "cursor").read_text() == "after-2\n"
        await _until_signal(subscription(stage, count=1, cursor="after-2", cursor_file=file))
        assert stage.requests[1]["cursor"] == "after-2"
    assert (tmp_path / "cursor").read_text() == "after-3\n"
    assert len(capsys.readouterr().out.splitlines()) == 3


async def test_begins_in_the_history_without_a_cursor() -> None:
    async with FakeServer(session(event(1), stay=True)).up() as stage:
        await _until_signal(subscription(stage, count=1, since="15m"))
        assert (stage.requests[0]["since"], stage.requests[0].get("cursor")) == ("15m", None)


async def test_filters_events(monkeypatch: pytest.MonkeyPatch) -> None:
    found = list[Subscription]()

    async def note(subscription: Subscription) -> None:
        found.append(subscription)

    async with FakeServer(session(event(1), stay=True)).up() as stage:
        await _until_signal(subscription(stage, count=1, filters={"orders": "total > 1"}))
        assert stage.requests[0]["filters"] == '{"orders": "total > 1"}'
    monkeypatch.setattr("services.cli.subscribing._until_signal", note)
    given = ["--filter", "orders.*", "total > 100", "--filter", "prices", "$event.subject = 'x'"]
    assert await asyncio.to_thread(main, ["subscribe", "--token", "t", "--channels", "orders.*,prices", *given]) == 0
    assert found[0].filters == {"orders.*": "total > 100", "prices": "$event.subject = 'x'"}


async def test_reports_an_unreadable_frame_and_continues_behind_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = '{"cursor":"after-bad","id":"bad","source":"/s","type":"t","data":1e400}'
    file = CursorFile(tmp_path / "cursor")
    async with FakeServer(session(event(1), bad, event(2), stay=True)).up() as stage:
        await _until_signal(subscription(stage, count=2, quiet=True, cursor_file=file))
    captured = capsys.readouterr()
    assert [json.loads(line)["id"] for line in captured.out.splitlines()] == ["1", "2"]
    assert captured.err.startswith("skipping an unreadable frame, after cursor after-bad: not JSON that can be read: ")
    assert captured.err.endswith(f"{bad}\n")
    assert (tmp_path / "cursor").read_text() == "after-2\n"


async def test_reports_watermarks_that_were_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    data = {"source": "/sources/orders", "as_of": "2026-01-02T03:04:04.250Z", "channels": ["orders.eu"]}
    mark = {"source": "/trelay", "type": "trelay.watermark", "id": "w", "specversion": "1.0", "data": data}
    async with FakeServer(session(mark, event(1), stay=True)).up() as stage:
        await _until_signal(subscription(stage, count=1, watermarks=10, quiet=True))
        assert stage.requests[0]["watermarks"] == "10"
    expected = "/sources/orders was read as of 2026-01-02T03:04:04.250Z, on orders.eu"
    assert expected in capsys.readouterr().err


async def test_prints_gaps_even_when_it_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    gap = {
        "source": "/trelay",
        "type": "trelay.gap",
        "cursor": "x",
        "data": {"reason": "not-kept", "detail": "since\nyesterday"},
    }
    draining = {"source": "/trelay", "type": "trelay.draining", "data": {"wait": 1}}
    async with FakeServer(session(connected(), gap, draining), session(event(1), stay=True)).up() as stage:
        await _until_signal(subscription(stage, count=1, quiet=True))
    assert capsys.readouterr().err == "events may be missing before this: not-kept: since\\nyesterday\n"


async def test_prints_losses(capsys: pytest.CaptureFixture[str]) -> None:
    draining = {"source": "/trelay", "type": "trelay.draining", "data": {"wait": 1}}
    async with FakeServer(session(connected(), draining), session(event(1), stay=True)).up() as stage:
        await _until_signal(subscription(stage, count=1))
    said = capsys.readouterr().err.splitlines()
    assert said[:2] == [
        "connected, to every channel; the next event comes after cursor start",
        'trelay.draining: {"wait": 1}',
    ]
    assert said[2].startswith("connection lost; retrying in ")


async def test_ends_when_the_close_code_forbids_reconnecting() -> None:
    async with FakeServer(session(connected(), close=(4503, "consumer removed"))).up() as stage:
        with pytest.raises(Stopped, match="consumer removed"):
            await _until_signal(subscription(stage))


async def test_cancelled_it_saves_its_cursor_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = CursorFile(tmp_path / "cursor")
    async with FakeServer(session(event(1), event(2), stay=True)).up() as stage:
        running = asyncio.create_task(_until_signal(subscription(stage, cursor_file=file)))
        printed = ""
        while printed.count("\n") < 2:
            await asyncio.sleep(0.01)
            printed += capsys.readouterr().out
        running.cancel()
        await running
    assert (tmp_path / "cursor").read_text() == "after-2\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected credentials"),
        (["--token", "x", "--client-secret", "y"], "not both"),
        (["--token", "x", "--cursor", "a", "--cursor-file", "b"], "not both"),
        (["--token", "x", "nowhere"], "found 'nowhere'; expected a URL"),
        (["--token", "x", "--count", "0"], "0 is not in the range"),
        (["--token", "x", "--ca-file", "/absent"], "does not exist"),
        (["--token", "x", "--cursor-file", "/absent/cursor"], "found no folder /absent"),
        (["--client-id", "x"], "expected the secret as well"),
        (["--token", "x", "--channels", ""], "'--channels': names no channel"),
        (["--token", "x", "--channels", " , "], "'--channels': names no channel"),
        (["--token", "x", "--cursor", "", "--cursor-file", "/absent/cursor"], "found no folder /absent"),
    ],
)
def test_a_usage_error_is_reported(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["subscribe", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_whom_to_trust_must_be_certificates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ca.pem").write_text("nonsense")
    assert main(["subscribe", "--token", "x", "--ca-file", str(tmp_path / "ca.pem")]) == 2
    assert "ca.pem contains no certificates" in capsys.readouterr().err
    (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    assert main(["subscribe", "--token", "x", "--ca-file", str(tmp_path / "ca.pem"), "nowhere"]) == 2
    assert "expected a URL" in capsys.readouterr().err
