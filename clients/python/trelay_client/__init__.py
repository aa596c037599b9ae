"""A subscriber: what a program does that wants every event once, whatever happens in between.

    async with aclosing(subscribe("http://127.0.0.1:8080", Account("demo", "demo"), ["orders.**"])) as frames:
        async for frame in frames:
            print(frame.text)

It registers, connects, keeps the cursor, comes back after any loss as the close codes say, and resumes. `course` holds
the decisions, without I/O, and can be followed by a subscriber in any language.
"""

from trelay_client.course import CONNECTED, GAP, Frame, Stopped
from trelay_client.cursor_file import CursorFile
from trelay_client.errors import TrelayClientError, UsageError
from trelay_client.stream import Account, Token, subscribe

__all__ = [
    "CONNECTED",
    "GAP",
    "Account",
    "CursorFile",
    "Frame",
    "Stopped",
    "Token",
    "TrelayClientError",
    "UsageError",
    "subscribe",
]
