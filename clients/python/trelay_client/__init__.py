"""Subscribes to Trelay: yields every event once, across reconnections.

    credentials = ClientCredentials("demo", "demo")
    async with aclosing(subscribe("http://127.0.0.1:8080", credentials, ["orders.**"])) as frames:
        async for frame in frames:
            print(frame.text)

It registers, connects, keeps the cursor, reconnects as the close codes say, and resumes. `state` holds the decisions,
without I/O, as a model for a client in any language.
"""

from trelay_client.blocking import events
from trelay_client.cursor_file import CursorFile
from trelay_client.errors import TrelayClientError, UsageError
from trelay_client.resuming import ResumeStore, resume
from trelay_client.state import CONNECTED, GAP, Frame, Stopped, UnreadableFrame
from trelay_client.stream import ClientCredentials, Token, subscribe

__all__ = [
    "CONNECTED",
    "GAP",
    "ClientCredentials",
    "CursorFile",
    "Frame",
    "ResumeStore",
    "Stopped",
    "Token",
    "TrelayClientError",
    "UnreadableFrame",
    "UsageError",
    "events",
    "resume",
    "subscribe",
]
