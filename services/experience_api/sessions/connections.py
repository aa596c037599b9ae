"""Holds at most one connection per client, or as many as it may have, on whichever replica.

A connection has a slot here from before its claim (`claims.py`) until after its release.
"""

import asyncio
import contextlib
import logging
import random
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from services.experience_api.hub import close_codes
from services.experience_api.hub.close_codes import CloseReason
from services.experience_api.refusals import Refused
from services.experience_api.registry.clients import Ending
from services.experience_api.registry.notices import (
    ClaimLost,
    DetailsRequest,
    DetailsResult,
    GrantChanged,
    Look,
    Notice,
    Probe,
    ProbeResult,
    SubscriptionRequest,
    SubscriptionResult,
)
from services.experience_api.registry.protocol import Registry
from services.experience_api.registry.tokens import TokenClaims
from services.experience_api.sessions.claiming.claims import Announce, Claims
from services.experience_api.sessions.claiming.probes import Probes
from services.experience_api.sessions.close_reasons import CLAIM_CLOSE_REASONS, REFUSED_CLOSE_REASONS
from services.experience_api.sessions.details import Details
from services.experience_api.sessions.node import NodeLease
from services.experience_api.sessions.options import ConnectionsOptions
from services.experience_api.sessions.revocations import Revocations
from services.experience_api.sessions.slots import ConnectionSlot
from services.experience_api.sessions.subscriptions import Subscriptions
from shared.errors import Unavailable
from shared.http.origin import Origin
from shared.runtime.clock import SYSTEM_CLOCK, Clock
from shared.runtime.retry import restarting
from shared.runtime.tasks import Tasks

logger = logging.getLogger(__name__)

_RELEASE_TIMEOUT = 5.0
"""Seconds for a release. A failed one is made up for by the next reconciliation."""
_DEAD_AFTER = 600.0
"""Seconds after which a replica without a lease does not come back, so that its claims are released. One that only
cannot reach the database keeps its connections, and needs their claims when it is back."""
_WAVE = 25
_PAUSE = 0.1
"""Of many connections whose claims are lost at once, so many are ended every so many seconds: all of them reconnect."""
_SPREAD = 10.0
"""Seconds over which they reconnect at least."""


class Connections:
    """The connections of this replica, and their claims."""

    def __init__(  # noqa: PLR0913 -- what it is made of, each from another part
        self,
        registry: Registry,
        node: NodeLease,
        tasks: Tasks,
        options: ConnectionsOptions,
        good_for_days: float,
        *,
        announce: Announce | None = None,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random | None = None,
    ) -> None:
        """`good_for_days` is how long a token is valid after its last connection."""
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 -- spreads subscribers, guards nothing
        self._registry = registry
        self._node = node
        self._tasks = tasks
        self._options = options
        self._good_for_days = good_for_days
        self._slots: dict[UUID, ConnectionSlot] = {}
        self._probes = Probes(registry, self._slots, options.probe_timeout)
        self._claims = Claims(registry, node, self._slots, self._probes, good_for_days, announce)
        self._reconcile_now = asyncio.Event()
        self._revocations = Revocations(registry, node, self.on_notice, options.revocation_interval)
        self.subscriptions = Subscriptions(registry, self._slots, node.name)
        self.details = Details(registry, self._slots, node.name)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Handle the notices of other replicas while the context is open."""
        async with self._registry.listening(self.on_notice), Tasks() as tasks:
            for name, work in (
                ("reconcile claims", self._keep_reconciling),
                ("look for revocations", self._revocations.run),
            ):
                tasks.keep(name, restarting(name, work, self._clock))
            yield

    @asynccontextmanager
    async def slot(
        self, claims: TokenClaims, origin: Origin, gone: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[ConnectionSlot]:
        """Hold the client's one connection while the context is open.

        `gone` returns whether the peer has disconnected meanwhile.

        Raises:
            Refused: `ALREADY_CONNECTED`, or what `Registry.claim` refuses.
            Unavailable: the registry does not answer.
        """
        slot = ConnectionSlot(uuid.uuid4(), claims, gone)
        # Before the claim: a notice about it may arrive before the answer to it.
        self._slots[slot.connection_id] = slot
        release, began = True, self._clock.monotonic()
        try:
            try:
                slot.claim = await self._claims.claim(slot, origin)
            except Refused:
                release = False  # after any other error the claim may have taken effect
                raise
            yield slot
        finally:
            if release:
                await self._release(slot, claims.client_id, self._clock.monotonic() - began)
            # Only now: until then a reconciliation must find the slot of every claim in the database.
            del self._slots[slot.connection_id]

    async def check(self, claims: TokenClaims) -> None:
        """Check a token without a claim: raise what `Registry.claim` refuses of it."""
        for refusal in (await self._registry.invalid([claims], self._good_for_days)).values():
            raise Refused(refusal)

    def lose_all(self) -> None:
        """End every connection: another process has this replica's lease, and all claims are void."""
        lost = [(slot, close_codes.CLAIM_LOST) for slot in self._slots.values()]
        _ = self._tasks.start("end connections", self._lose(lost))

    def reconcile_soon(self) -> None:
        """Compare the connections here with the claims in the database as soon as possible."""
        self._reconcile_now.set()

    def on_notice(self, notice: Notice | None) -> None:
        """Handle a notice of any replica, this one included."""
        match notice:
            case None:
                self.reconcile_soon()
            case ClaimLost() | GrantChanged():
                self._on_claim(notice)
            case Look():
                if notice.node == self._node.name:
                    self._revocations.look_soon()
            case SubscriptionResult():
                self.subscriptions.on_result(notice)
            case ProbeResult():
                self._probes.on_result(notice)
            case DetailsResult():
                self.details.on_result(notice)
            case _:
                self._answer(notice)

    def _on_claim(self, notice: ClaimLost | GrantChanged) -> None:
        slot = self._slots.get(notice.connection_id)
        if slot is None:
            return
        if isinstance(notice, ClaimLost):
            slot.lose(CLAIM_CLOSE_REASONS[notice.reason])
        else:
            slot.grant(notice.channels)

    def _answer(self, asked: SubscriptionRequest | DetailsRequest | Probe) -> None:
        # What is stored for a node is taken by it alone; a probe is sent to all.
        match asked:
            case SubscriptionRequest():
                _ = self._tasks.start(f"change {asked.connection_id}", self.subscriptions.answer(asked))
            case DetailsRequest():
                _ = self._tasks.start("describe connections", self.details.answer(asked))
            case Probe():
                if asked.node == self._node.name:
                    _ = self._tasks.start(f"probe {asked.connection_id}", self._probes.answer(asked))

    async def reconcile(self) -> None:
        """Bring the connections here in line with the claims in the database: notices may have been missed.

        Raises:
            Unavailable: the registry does not answer.
        """
        node = self._node.current()
        claimed = [slot for slot in self._slots.values() if slot.claim is not None and slot.lost is None]
        held = await self._registry.held_by(node)
        if any(slot.connection_id not in held for slot in claimed):
            await self._revocations.look()  # what took these claims away has also stored why
        if lost := [slot for slot in claimed if slot.connection_id not in held and slot.lost is None]:
            reasons = await self._reasons([slot.token for slot in lost])
            await self._lose([(slot, reasons.get(slot.token, close_codes.CLAIM_LOST)) for slot in lost])
        await self.subscriptions.refresh_grants(claimed)
        await self._lose_invalid(
            [slot for slot in claimed if slot.claim is not None and slot.claim.max_connections > 1]
        )
        for connection_id, client_id in held.items():
            if connection_id not in self._slots:
                await self._registry.release(client_id, connection_id)
        await self._registry.release_dead(_DEAD_AFTER)

    async def _lose(self, lost: list[tuple[ConnectionSlot, CloseReason]]) -> None:
        """End connections in waves, with times to reconnect that are spread."""
        self._rng.shuffle(lost)
        spread = max(_SPREAD, 2 * len(lost) / _WAVE * _PAUSE)
        for number, (slot, reason) in enumerate(lost):
            if number and number % _WAVE == 0:
                await self._clock.sleep(_PAUSE)
            wait = None if reason.wait is None or len(lost) == 1 else reason.wait + self._rng.uniform(0, spread)
            slot.lose(reason, wait)

    async def _lose_invalid(self, claimed: list[ConnectionSlot]) -> None:
        """End connections beside others of their clients whose tokens are not valid any more.

        A replica of the previous release revokes the first claim of a client alone. The claims that are left are
        released at the next comparison.
        """
        several = [slot for slot in claimed if slot.claim is not None and slot.claim.max_connections > 1]
        if not several:
            return
        invalid = await self._registry.invalid([slot.token for slot in several], self._good_for_days)
        lost = [(slot, REFUSED_CLOSE_REASONS[invalid[slot.token]]) for slot in several if slot.token in invalid]
        await self._lose(lost)

    async def _reasons(self, tokens: list[TokenClaims]) -> dict[TokenClaims, CloseReason]:
        """Return why the claims of these tokens were lost, as far as that can be found out without their notices."""
        try:
            invalid = await self._registry.invalid(tokens, self._good_for_days)
            at_limit = await self._registry.at_limit([token.client_id for token in tokens])
        except Unavailable:
            return {}  # the claims are lost all the same; the next handshake gets the refusal
        taken_over = {token: close_codes.TAKEN_OVER for token in tokens if token.client_id in at_limit}
        return taken_over | {token: REFUSED_CLOSE_REASONS[refusal] for token, refusal in invalid.items()}

    async def _release(self, slot: ConnectionSlot, client_id: str, lasted: float) -> None:
        ending = None if slot.ended is None else Ending(slot.ended.code, slot.ended.name, lasted)
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT):
                if slot.lost in {None, close_codes.CLAIM_LOST}:
                    await self._registry.release(client_id, slot.connection_id, ending)
                elif ending is not None:  # the claim was deleted, or belongs to another connection
                    await self._registry.note_ending(client_id, ending)
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
