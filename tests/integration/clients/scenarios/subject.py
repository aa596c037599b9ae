"""Subscribes with the Python client as the JSON in its argument says; prints a line of JSON for all that happens."""

import asyncio
import json
import re
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

from trelay_client import (
    ChangeRefused,
    Channels,
    ClientCredentials,
    CursorFile,
    Frame,
    Sender,
    Stopped,
    Token,
    TrelayClientError,
    UnreadableFrame,
    resume,
    subscribe,
)


def say(**found: object) -> None:
    print(json.dumps(found), flush=True)


def on_retry(text: str) -> None:
    reason, _, seconds = text.rpartition("; retrying in ")
    found = re.fullmatch(r"([\d.]+) s", seconds)
    assert found is not None, text
    say(retry=reason, pause=float(found[1]))


def on_unreadable(frame: UnreadableFrame) -> None:
    say(unreadable=frame.text)


async def send(sender: Sender, ids: list[str]) -> None:
    for message_id in ids:
        await sender.send({"sent": message_id}, message_id)
        say(stored=message_id)


async def change(channels: Channels, given: dict[str, Any]) -> None:
    try:
        if "subscribe" in given:
            await channels.subscribe(*given["subscribe"], filters=given.get("filters"))
        else:
            await channels.unsubscribe(*given["unsubscribe"])
    except ChangeRefused as exc:
        say(refused=exc.code)
    except TrelayClientError as exc:
        say(failed=str(exc))
    else:
        say(changed=sorted(channels.names))


async def take(frame: Frame, given: dict[str, Any], channels: Channels | None) -> None:
    data = frame.event.get("data")
    if frame.own:
        say(control=frame.event["type"], data=data)
        return
    number = data["number"] if isinstance(data, dict) else data
    say(number=number)
    if channels is not None and str(number) in given["changes"]:
        await change(channels, given["changes"][str(number)])
    await asyncio.sleep(given.pop("busy", 0))


async def run(given: dict[str, Any]) -> None:
    sender = Sender() if given.get("send") else None
    options: dict[str, Any] = {
        "snapshot": given.get("snapshot", False),
        "since": given.get("since"),
        "filters": given.get("filters"),
        "answer_heartbeats": given.get("answerHeartbeats", False),
        "sender": sender,
        "on_retry": on_retry,
        "on_unreadable": on_unreadable,
    }
    credentials: ClientCredentials | Token = (
        Token(given["token"])
        if "token" in given
        else ClientCredentials(given.get("clientId", "demo"), given.get("clientSecret", "demo"))
    )
    changing = Channels(given["channels"]) if "changes" in given else None
    channels = changing or given.get("channels", [])
    store = given.get("store")
    frames = (
        resume(given["url"], credentials, CursorFile(Path(store)), channels, **options)
        if store
        else subscribe(given["url"], credentials, channels, **options)
    )
    sending = None if sender is None else asyncio.ensure_future(send(sender, given["send"]))
    async with aclosing(frames):
        async for frame in frames:
            await take(frame, given, changing)
    del sending  # until here, the loop has only a weak reference to it


try:
    asyncio.run(run(json.loads(sys.argv[1])))
except Stopped as exc:
    say(stopped=exc.code, text=str(exc))
except TrelayClientError as exc:
    say(error=str(exc))
