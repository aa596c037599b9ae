"""Functions as users write them, for the tests of `python`."""

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.errors import Unavailable

seen: list[Any] = []


meanwhile: Callable[[Any], None] = print
"""What happens while `slow` runs; tests replace it."""


def slow(data: Any) -> Any:
    meanwhile(data)
    return data


def double(data: Any) -> Any:
    return {**data, "amount": data["amount"] * 2}


def keep(data: Any) -> Any:
    seen.append(data)
    return data


def with_event(data: Any, event: dict[str, Any]) -> Any:
    return {"data": data, "event": event}


def optional(data: Any, factor: int = 3) -> Any:
    return data["amount"] * factor


def drop(data: Any) -> None:
    return


def lines(data: Any) -> list[Any]:
    found: list[Any] = data["lines"]
    return found


def fail(data: Any) -> Any:
    return data["missing"]


def wait(data: Any) -> Any:
    raise Unavailable("the price list does not answer")


def no_json(data: Any) -> Any:
    return {"self": object()}


def no_number(data: Any) -> Any:
    return {"price": Decimal("NaN")}


def not_a_number(data: Any) -> Any:
    return {"prices": [1.5, None, float("nan")]}


def infinite(data: Any) -> Any:
    return float("-inf")


def nulls(data: Any) -> Any:
    return {"prices": [1.5, None], "note": "null"}


class MuteError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def mute(data: Any) -> Any:
    raise MuteError


@dataclasses.dataclass
class Price:
    """One that cannot be encoded."""

    amount: int = 1

    def __getattribute__(self, name: str) -> Any:
        raise ZeroDivisionError


def odd_object(data: Any) -> Any:
    return {"price": Price()}


def leave(data: Any) -> Any:
    sys.exit("for good")


def cancel(data: Any) -> Any:
    raise asyncio.CancelledError("on its own")


def no_text(data: Any) -> Any:
    return "\ud83d"


def cycle(data: Any) -> Any:
    data["self"] = data
    return data


async def asynchronous(data: Any) -> Any:
    return data


def three(data: Any, event: Any, other: Any) -> Any:
    return data


def none() -> Any:
    return 1


class Prices:
    """A class may hold functions as well."""

    @staticmethod
    def double(data: Any) -> Any:
        return double(data)


not_callable = 5
made: Callable[[Any], Any] = keep


answering = threading.Event()
looked_up: list[Any] = []


def look_up(data: Any) -> Any:
    looked_up.append(data["n"])
    if data.get("wait") and not answering.is_set():
        raise Unavailable("the price list does not answer")
    return data


def busy(data: Any) -> Any:
    until = time.perf_counter() + 0.001
    while time.perf_counter() < until:
        pass
    return data


async def scripted(data: Any, event: Any, settings: Any) -> Any:
    """Do what the entity says."""
    return plainly(data, event, settings)


async def slowly(data: Any) -> Any:
    await asyncio.sleep(data.get("seconds", 0))
    return {**data, "done": True}


def input_or_end() -> str:
    try:
        return input()
    except EOFError:
        return "the end"


def until_told(data: Any, settings: Any) -> Any:
    """Return once a file exists."""
    Path(settings["entered"]).touch()
    while not Path(settings["proceed"]).exists():
        time.sleep(0.01)
    return data


def counted(data: Any, settings: Any) -> Any:
    """Note each call in a file."""
    with Path(settings["calls"]).open("a") as calls:
        calls.write(f"{data['n']}\n")
    if data.get("fails"):
        raise ValueError("no")
    return data


async def counted_asynchronously(data: Any, settings: Any) -> Any:
    return await asyncio.to_thread(counted, data, settings)


def endless(data: Any, settings: Any) -> Any:
    """Never return, and never let another thread run for long."""
    Path(settings["marker"]).write_text(str(os.getpid()))
    while True:
        pass


attempts: list[Any] = []


async def stubborn(data: Any) -> Any:
    """Try again whatever happens, a cancellation included."""
    while data["ends"] > len(attempts):
        try:
            await asyncio.get_running_loop().create_future()
        except:  # noqa: E722 -- as users write it
            attempts.append(data)
    return {**data, "attempts": len(attempts)}


async def cancelling(data: Any) -> Any:
    """Await what is cancelled."""
    task = asyncio.get_running_loop().create_future()
    task.cancel()
    return await task


def plainly(data: Any, event: Any, settings: Any) -> Any:
    """Do what the entity says, without waiting."""
    match data.get("do"):
        case "fail":
            raise KeyError("missing")
        case "wait":
            raise Unavailable("the price list does not answer")
        case "exit":
            os._exit(3)
        case "loop":
            while True:
                pass
        case "print":
            print("to nowhere")
        case _:
            pass
    return {**data, "id": event["id"], "rate": settings["rate"]}


def oddly(data: Any, event: Any, settings: Any) -> Any:
    """Do what no function should."""
    match data.get("do"):
        case "read":
            return {**data, "read": [input_or_end(), subprocess.run(["cat"], check=True, capture_output=True).stdout]}
        case "fork":
            os.fork()
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "crash once" if not Path(data["marker"]).exists():
            Path(data["marker"]).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        case "much":
            return "x" * 65 * 1_048_576
        case "long error":
            raise ValueError("x" * 5_000_000)
        case _:
            pass
    return plainly(data, event, settings)
