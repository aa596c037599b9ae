"""The endpoints of the system layer, as the command line calls them."""

from collections.abc import Mapping
from typing import Any

from services.cli.service_client import ServiceClient


class SystemClient(ServiceClient):
    """Calls the endpoints of one replica of the system layer."""

    service = "system layer"

    async def sources(self) -> Mapping[str, Any]:
        """Return all sources by name. Raises `TrelayError`."""
        return await self.call("GET", "/sources")

    async def source(self, name: str) -> Mapping[str, Any]:
        """Return one source. Raises `TrelayError`."""
        return await self.call("GET", f"/sources/{name}")

    async def position(self, name: str) -> Mapping[str, Any]:
        """Return the saved position of one source. Raises `TrelayError`."""
        return await self.call("GET", f"/sources/{name}/position")

    async def windows(self, name: str, hours: int) -> Mapping[str, Any]:
        """Return the counts of one source by hour. Raises `TrelayError`."""
        return await self.call("GET", f"/sources/{name}/windows?hours={hours}")

    async def ask(self, name: str, action: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask something of a source; return the answer. Raises `TrelayError`."""
        return await self.call("POST", f"/sources/{name}/{action}", body)
