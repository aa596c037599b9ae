"""What `make run` shows."""

import asyncio
import json
from pathlib import Path

from services.standalone import demo
from services.standalone.data import EXAMPLES
from tests.unit.clients.python.trelay_client.fake_server import FakeServer, connected, event, session
from trelay_client import ClientCredentials, Frame


def frame(**data: object) -> Frame:
    event = {"source": "/sources/sensors", "type": "sensor.reading", "channel": "sensors", "data": data}
    return Frame(json.dumps(event), event, "c1")


def test_an_event_is_one_line() -> None:
    assert demo.line(frame(celsius=4.2, note="ä\n")).split() == [
        "sensors",
        "sensor.reading",
        '{"celsius":',
        "4.2,",
        '"note":',
        '"ä\\n"}',
    ]


def test_a_long_event_is_cut_to_the_terminal() -> None:
    shown = demo.line(frame(note="x" * 1000))
    assert len(shown) == 160
    assert shown.endswith("…")


def test_the_examples_are_copied_once_and_the_reader_keeps_what_he_changed(tmp_path: Path) -> None:
    settings = demo.copy_examples(tmp_path)
    feed = tmp_path / "sensors.ndjson"
    feed.write_text("mine\n")
    settings.write_text("old release")
    assert demo.copy_examples(tmp_path) == settings
    assert feed.read_text() == "mine\n"
    assert settings.read_text() == (EXAMPLES / "trelay.yaml").read_text()
    assert (tmp_path / "drop" / "stock-monday.csv").exists()


async def test_events_are_shown_though_the_cursor_cannot_be_kept(tmp_path: Path) -> None:
    said: list[str] = []
    shown = asyncio.Event()

    def say(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            shown.set()

    async with FakeServer(session(connected(), event(1), event(2), stay=True)).up() as stage:
        cursor = tmp_path / "gone" / "cursor"
        showing = asyncio.create_task(
            demo.print_events(stage.url, ClientCredentials("a", "b"), cursor, say, lambda: None)
        )
        async with asyncio.timeout(60):
            await shown.wait()
        showing.cancel()
    assert [text for text in said if "cannot write the cursor" in text] == said[:1]
