"""The endpoints of dead letters, as the command line calls them."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from services.cli.service_client import ServiceClient
from shared.errors import TrelayError

_IDLE = 12
"""Requests that get no further, until it is an error."""

Progress = Callable[[int], None]
"""Called with how many letters were replayed, dropped or listed so far."""


class LettersClient(ServiceClient):
    """Calls the endpoints of one replica of the process layer."""

    service = "process layer"

    async def listed(self, query: Mapping[str, str], limit: int, progress: Progress) -> list[dict[str, Any]]:
        """Return the first letters that a query asks for, at most `limit`. Raises `TrelayError`."""
        letters: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            asked = {**query, **cursor, "limit": str(min(1000, limit - len(letters)))}
            found = await self.call("GET", f"/dead-letters?{urlencode(asked)}")
            letters += found["letters"]
            progress(len(letters))
            if found["cursor"] is None or len(letters) >= limit:
                return letters
            cursor = {"cursor": found["cursor"]}

    async def counted(self, query: Mapping[str, str], progress: Progress) -> dict[str, Any]:
        """Return how many letters a query asks for, by what went wrong. Raises `TrelayError`."""
        total, ungrouped = 0, 0
        groups: dict[tuple[str, ...], dict[str, Any]] = {}
        cursor: dict[str, str] = {}
        while True:
            found = await self.call("GET", f"/dead-letters/counts?{urlencode({**query, **cursor})}")
            total, ungrouped = total + found["total"], ungrouped + found["ungrouped"]
            for group in found["groups"]:
                cause = tuple(group[name] for name in ("stage", "source", "pipeline", "error"))
                known = groups.setdefault(cause, {**group, "count": 0})
                known |= {"count": known["count"] + group["count"], "example": group["example"]}
                known |= {"newest": max(known["newest"], group["newest"])}
            progress(total)
            if found["cursor"] is None:
                ordered = sorted(groups.values(), key=lambda group: -group["count"])
                return {"total": total, "groups": ordered, "ungrouped": ungrouped}
            cursor = {"cursor": found["cursor"]}

    async def shown(self, letter: str) -> bytes:
        """Return one letter, as JSON. Raises `TrelayError`."""
        return await self.call_raw("GET", f"/dead-letters/{letter}")

    async def decided(self, action: str, body: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        """Replay or drop letters to the end, or say what that would do; return the counts. Raises `TrelayError`."""
        done = "replayed" if action == "replay" else "dropped"
        total: dict[str, Any] | None = None
        cursor, idle = body.get("cursor"), 0
        while True:
            asked = msgspec.json.encode({**body, **({} if cursor is None else {"cursor": cursor})})
            found = msgspec.json.decode(
                await self.call_raw("POST", f"/dead-letters/{action}", asked), type=dict[str, Any]
            )
            if total is None:
                total = found
            else:
                for name in (done, "refused", "decided_before", "refusals"):
                    total[name] += found[name]
                total["cursor"] = found["cursor"]
            progress(total[done])
            idle = idle + 1 if found["cursor"] == cursor else 0
            cursor = found["cursor"]
            if cursor is None:
                return total
            if idle == _IDLE:
                raise TrelayError(f"no progress after {total[done]} letters; run the same again for the others")
