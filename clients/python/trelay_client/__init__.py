"""Subscribes to Trelay: yields every event once, across reconnections.

    credentials = ClientCredentials("demo", "demo")
    async with aclosing(subscribe("http://127.0.0.1:8080", credentials, ["orders.**"])) as frames:
        async for frame in frames:
            print(frame.text)

It registers, connects, keeps the cursor, reconnects as the close codes say, and resumes. `state` holds the decisions,
without I/O, as a model for a client in any language; `messages` those about sending, `changes` those about channels.
"""

from trelay_client.blocking import events
from trelay_client.channels.changeable import BlockingChannels, Channels
from trelay_client.credentials import ClientCredentials, Token
from trelay_client.cursor_file import CursorFile
from trelay_client.errors import (
    ChangeRefused,
    ChangeUnanswered,
    MessageRejected,
    MessageUnanswered,
    SendQueueFull,
    TrelayClientError,
    UsageError,
)
from trelay_client.messages import Receipt
from trelay_client.resuming import ExclusiveStore, ResumeStore, resume
from trelay_client.sending import BlockingSender, Sender
from trelay_client.state import CONNECTED, GAP, Frame, Stopped, UnreadableFrame
from trelay_client.stream import subscribe

__all__ = [
    "CONNECTED",
    "GAP",
    "BlockingChannels",
    "BlockingSender",
    "ChangeRefused",
    "ChangeUnanswered",
    "Channels",
    "ClientCredentials",
    "CursorFile",
    "ExclusiveStore",
    "Frame",
    "MessageRejected",
    "MessageUnanswered",
    "Receipt",
    "ResumeStore",
    "SendQueueFull",
    "Sender",
    "Stopped",
    "Token",
    "TrelayClientError",
    "UnreadableFrame",
    "UsageError",
    "events",
    "resume",
    "subscribe",
]
