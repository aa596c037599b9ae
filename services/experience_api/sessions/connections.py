"""Holds at most one connection per client, on whichever replica.

A connection has a slot here from before its claim until after its release. When another connection of the same client
arrives, its holder is probed: directly on this replica, by a notice on another one. A holder that answers keeps the
claim; one that does not is displaced.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Annotated
from uuid import UUID

from pydantic import Field

from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.refusals import (
    ALREADY_CONNECTED,
    CLIENT_DISABLED,
    TOKEN_EXPIRED,
    TOKEN_REFUSED,
    UNAVAILABLE,
    Refused,
)
from services.experience_api.registry.notices import ClaimLost, LossReason, Notice, Probe, ProbeResult
from services.experience_api.registry.protocol import Claim, Held, Registry
from services.experience_api.registry.tokens import TokenClaims
from services.experience_api.sessions.node import NodeLease
from services.experience_api.sessions.slots import ConnectionSlot
from shared.errors import Unavailable
from shared.http.origin import Origin
from shared.runtime.tasks import Tasks
from shared.settings import Form, Options

logger = logging.getLogger(__name__)

_CLOSE_REASONS = {
    LossReason.REPLACED: close_codes.REPLACED,
    LossReason.REMOVED: close_codes.REMOVED,
    LossReason.DISABLED: close_codes.DISABLED,
    LossReason.TAKEN_OVER: close_codes.TAKEN_OVER,
}
CLOSE_REASONS = {
    TOKEN_REFUSED: close_codes.TOKEN_REFUSED,
    TOKEN_EXPIRED: close_codes.TOKEN_EXPIRED,
    CLIENT_DISABLED: close_codes.DISABLED,
}
"""The close reason for each refusal of a token."""
_RELEASE_TIMEOUT = 5.0
"""Seconds for a release. A failed one is made up for by the next reconciliation."""


class ConnectionsOptions(Options):
    """How the one connection of each client is held."""

    node: Annotated[str, Form(r"^[A-Za-z0-9._-]{1,100}$", "1 to 100 letters, digits, '.', '_' and '-'")] | None = None
    """The unique name of this replica. None generates one from the host's name and random digits."""

    lease_seconds: float = Field(default=30.0, ge=1)
    """Seconds that the database may be unavailable before this replica closes its connections, because other replicas
    could claim them by then. The clients of a dead replica need not wait that long: they displace a connection that
    does not answer."""

    probe_timeout: float = Field(default=1.5, gt=0, le=8)
    """Seconds that a connection has to answer a ping when another connection of its client arrives."""

    reconcile_interval: float = Field(default=60.0, gt=0)
    """Seconds between two comparisons of the connections here with the claims in the database."""


class Connections:
    """The connections of this replica, and their claims."""

    def __init__(
        self, registry: Registry, node: NodeLease, tasks: Tasks, options: ConnectionsOptions, good_for_days: float
    ) -> None:
        """`good_for_days` is how long a token is valid after its last connection."""
        self._registry = registry
        self._node = node
        self._tasks = tasks
        self._options = options
        self._good_for_days = good_for_days
        self._slots: dict[UUID, ConnectionSlot] = {}
        self._claiming: set[str] = set()
        self._probes: dict[UUID, asyncio.Future[bool]] = {}
        self._reconcile_now = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Handle the notices of other replicas while the context is open."""
        async with self._registry.listening(self.on_notice), Tasks() as tasks:
            tasks.keep("reconcile claims", self._keep_reconciling())
            yield

    @asynccontextmanager
    async def slot(self, claims: TokenClaims, origin: Origin) -> AsyncIterator[ConnectionSlot]:
        """Hold the client's one connection while the context is open.

        Raises:
            Refused: `ALREADY_CONNECTED`, or what `Registry.claim` refuses.
            Unavailable: the registry does not answer.
        """
        slot = ConnectionSlot(uuid.uuid4(), claims)
        # Before the claim: a notice about it may arrive before the answer to it.
        self._slots[slot.connection_id] = slot
        release = True
        try:
            try:
                slot.claim = await self._claim(slot.connection_id, claims, origin)
            except Refused:
                release = False  # after any other error the claim may have taken effect
                raise
            yield slot
        finally:
            if release:
                await self._release(slot, claims.client_id)
            # Only now: until then a reconciliation must find the slot of every claim in the database.
            del self._slots[slot.connection_id]

    def lose_all(self) -> None:
        """End every connection: this replica's lease is lost, and other replicas may claim each of them."""
        for slot in list(self._slots.values()):
            slot.lose(close_codes.CLAIM_LOST)

    def on_notice(self, notice: Notice | None) -> None:
        """Handle a notice of any replica, this one included."""
        match notice:
            case None:
                self._reconcile_now.set()
            case ClaimLost(connection_id=connection_id, reason=reason):
                if (slot := self._slots.get(connection_id)) is not None:
                    slot.lose(_CLOSE_REASONS[reason])
            case Probe():
                if notice.node == self._node.name:
                    _ = self._tasks.start(f"probe {notice.connection_id}", self._answer(notice))
            case ProbeResult(probe_id=probe_id, alive=alive):
                waiter = self._probes.get(probe_id)
                if waiter is not None and not waiter.done():
                    waiter.set_result(alive)

    async def reconcile(self) -> None:
        """Bring the connections here in line with the claims in the database: notices may have been missed.

        Raises:
            Unavailable: the registry does not answer.
        """
        node = self._node.current()
        claimed = [slot for slot in self._slots.values() if slot.claim is not None and slot.lost is None]
        held = await self._registry.held_by(node)
        if lost := [slot for slot in claimed if slot.connection_id not in held]:
            reasons = await self._reasons([slot.token for slot in lost])
            for slot in lost:
                slot.lose(reasons.get(slot.token, close_codes.CLAIM_LOST))
        for connection_id, client_id in held.items():
            if connection_id not in self._slots:
                await self._registry.release(client_id, connection_id)
        await self._registry.release_dead()

    async def _reasons(self, tokens: list[TokenClaims]) -> dict[TokenClaims, CloseReason]:
        """Return why the claims of these tokens were lost, as far as that can be found out without their notices."""
        try:
            invalid = await self._registry.invalid(tokens, self._good_for_days)
            connected = await self._registry.connected([token.client_id for token in tokens])
        except Unavailable:
            return {}  # the claims are lost all the same; the next handshake gets the refusal
        taken_over = {token: close_codes.TAKEN_OVER for token in tokens if token.client_id in connected}
        return taken_over | {token: CLOSE_REASONS[refusal] for token, refusal in invalid.items()}

    async def _claim(self, connection_id: UUID, claims: TokenClaims, origin: Origin) -> Claim:
        if claims.client_id in self._claiming:
            raise Refused(ALREADY_CONNECTED, "another connection of this client is being opened")
        self._claiming.add(claims.client_id)
        claim = partial(
            self._registry.claim,
            claims,
            connection_id,
            remote=str(origin.address),
            loopback=origin.loopback,
            good_for_days=self._good_for_days,
        )
        try:
            node = self._node.current()
            verdict = await claim(node)
            if isinstance(verdict, Held) and not await self._responds(verdict):
                silent = verdict.connection_id
                verdict = await claim(node, instead_of=silent)
                if isinstance(verdict, Claim) and silent in self._slots:
                    self._slots[silent].lose(close_codes.TAKEN_OVER)
        finally:
            self._claiming.discard(claims.client_id)
        if isinstance(verdict, Held):
            raise Refused(ALREADY_CONNECTED)
        return verdict

    async def _responds(self, held: Held) -> bool:
        timeout = self._options.probe_timeout
        if held.node == self._node.name:
            slot = self._slots.get(held.connection_id)
            return slot is not None and await slot.responds(timeout)
        if self._registry.problem is not None:
            # No answer would arrive here, and a live connection must not lose its claim because of that.
            raise Refused(UNAVAILABLE, "no connection to other replicas at the moment; try again", retry_after=1.0)
        probe = Probe(held.connection_id, held.node, uuid.uuid4())
        result: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._probes[probe.probe_id] = result
        try:
            # A little longer than the holder has, for its answer to arrive.
            async with asyncio.timeout(timeout * 1.2):
                await self._registry.notify(probe)
                return await result
        except TimeoutError:
            return False
        finally:
            del self._probes[probe.probe_id]

    async def _answer(self, probe: Probe) -> None:
        slot = self._slots.get(probe.connection_id)
        alive = slot is not None and await slot.responds(self._options.probe_timeout)
        try:
            await self._registry.notify(ProbeResult(probe.probe_id, alive))
        except Unavailable as exc:
            logger.warning("probe answer failed", extra={"connection_id": str(probe.connection_id), "error": str(exc)})

    async def _release(self, slot: ConnectionSlot, client_id: str) -> None:
        if slot.lost not in {None, close_codes.CLAIM_LOST}:
            return  # the claim was deleted, or belongs to another connection
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                await self._registry.release(client_id, slot.connection_id)
        except (Unavailable, TimeoutError) as exc:
            logger.warning(
                "claim release failed; will retry",
                extra={
                    "client_id": client_id,
                    "connection_id": str(slot.connection_id),
                    "error": str(exc) or "no answer",
                },
            )

    async def _keep_reconciling(self) -> None:
        while True:
            self._reconcile_now.clear()
            try:
                await self.reconcile()
            except Refused:
                pass  # this node does not hold its lease: `NodeLease` reports that, and every claim is lost
            except Unavailable as exc:
                logger.warning("claim reconciliation failed; will retry", extra={"error": str(exc)})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.reconcile_interval):
                    await self._reconcile_now.wait()
