"""One connection a client, on whichever replica.

A connection has a *seat* here from before it is claimed until it is released. When another one of the same client
comes, the holder is asked whether it still answers: here at once, on another replica by a notice. One that does is
left alone; one that does not is displaced.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

from pydantic import Field

from services.experience_api.allow_list import Origin
from services.experience_api.hub import close_codes
from services.experience_api.node import NodeLease
from services.experience_api.refusals import (
    ALREADY_CONNECTED,
    CLIENT_DISABLED,
    TOKEN_EXPIRED,
    TOKEN_REFUSED,
    UNAVAILABLE,
    Refusal,
    Refused,
)
from services.experience_api.registry.notices import Answer, Lost, Notice, Probe, Why
from services.experience_api.registry.protocol import Claim, Held, Registry, Wish
from services.experience_api.seat import Seat
from services.experience_api.tokens import TokenClaims
from shared.errors import Unavailable
from shared.settings import Options
from shared.tasks import Tasks

logger = logging.getLogger(__name__)

_REASONS = {
    Why.REPLACED: close_codes.REPLACED,
    Why.REMOVED: close_codes.REMOVED,
    Why.DISABLED: close_codes.DISABLED,
    Why.TAKEN_OVER: close_codes.TAKEN_OVER,
}
CLOSE_REASONS = {
    TOKEN_REFUSED: close_codes.TOKEN_REFUSED,
    TOKEN_EXPIRED: close_codes.TOKEN_EXPIRED,
    CLIENT_DISABLED: close_codes.DISABLED,
}
"""What a connection is closed for where a token is not valid any more."""
_RELEASE_WITHIN = 5.0
"""Seconds for a release; one that fails is made good by the next look at what this node holds."""


class ConnectionsOptions(Options):
    """How the one connection of a client is kept."""

    node: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,100}$")
    """This replica's name among the others. None makes one of the host's name and some random digits."""

    lease_seconds: float = Field(default=30.0, ge=1)
    """How long the database may be away before this replica closes its connections, for they could be claimed
    elsewhere by then. A dead replica's clients need not wait so long: they displace what does not answer."""

    answer_within: float = Field(default=1.5, gt=0, le=8)
    """Seconds in which a holder must answer a ping when another connection of its client comes."""

    look_every: float = Field(default=60.0, gt=0)
    """Seconds between two looks whether what is connected here and what the database says agree."""


class Connections:
    """The connections of this replica, and their claims."""

    def __init__(
        self, registry: Registry, node: NodeLease, tasks: Tasks, options: ConnectionsOptions, good_for_days: float
    ) -> None:
        """`good_for_days` is how long after its last connection a token is good."""
        self._registry = registry
        self._node = node
        self._tasks = tasks
        self._options = options
        self._good_for_days = good_for_days
        self._seats: dict[UUID, Seat] = {}
        self._coming: set[str] = set()
        self._questions: dict[UUID, asyncio.Future[bool]] = {}
        self._look = asyncio.Event()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Hear what other replicas say for as long as the context lasts."""
        async with self._registry.hearing(self.hear), Tasks() as tasks:
            tasks.keep("look at claims", self._keep_looking())
            yield

    @asynccontextmanager
    async def seat(self, claims: TokenClaims, origin: Origin) -> AsyncIterator[Seat]:
        """Be the client's one connection for as long as the context lasts.

        Raises:
            Refused: `ALREADY_CONNECTED`, or what `Registry.claim` refuses.
            Unavailable: the registry does not answer.
        """
        seat = Seat(uuid.uuid4(), claims)
        # Before the claim: a notice may come before the answer to it does.
        self._seats[seat.connection_id] = seat
        owed = True
        try:
            try:
                seat.claim = await self._claim(seat, claims, origin)
            except Refused:
                owed = False  # of any other failure, it is not known whether the claim took effect
                raise
            yield seat
        finally:
            if owed:
                await self._release(seat, claims.client_id)
            # Only now: until then, what the database says of it is no news.
            del self._seats[seat.connection_id]

    def lose_all(self) -> None:
        """Close every connection: this replica's lease is lost, and each may be claimed elsewhere."""
        for seat in list(self._seats.values()):
            seat.lose(close_codes.CLAIM_LOST)

    def hear(self, notice: Notice | None) -> None:
        """Act on what another replica, or this one, has said."""
        match notice:
            case None:
                self._look.set()
            case Lost(connection_id=connection_id, why=why):
                if (seat := self._seats.get(connection_id)) is not None:
                    seat.lose(_REASONS[why])
            case Probe():
                if notice.node == self._node.name:
                    _ = self._tasks.start(f"probe {notice.connection_id}", self._answer(notice))
            case Answer(question=question, alive=alive):
                asked = self._questions.get(question)
                if asked is not None and not asked.done():
                    asked.set_result(alive)

    async def look(self) -> None:
        """Bring what is connected here and what the database says together; notices may have been missed.

        Raises:
            Unavailable: the registry does not answer.
        """
        node = self._node.current()
        claimed = [seat for seat in self._seats.values() if seat.claim is not None and seat.lost is None]
        held = await self._registry.held_by(node)
        if lost := [seat for seat in claimed if seat.connection_id not in held]:
            invalid = await self._invalid([seat.token for seat in lost])
            for seat in lost:
                refusal = invalid.get(seat.token)
                seat.lose(close_codes.CLAIM_LOST if refusal is None else CLOSE_REASONS[refusal])
        for connection_id, client_id in held.items():
            if connection_id not in self._seats:
                await self._registry.release(client_id, connection_id)
        await self._registry.settle()

    async def _invalid(self, tokens: list[TokenClaims]) -> dict[TokenClaims, Refusal]:
        try:
            return await self._registry.invalid(tokens, self._good_for_days)
        except Unavailable:
            return {}  # the claims are gone all the same; the handshake will tell

    async def _claim(self, seat: Seat, claims: TokenClaims, origin: Origin) -> Claim:
        if claims.client_id in self._coming:
            raise Refused(ALREADY_CONNECTED, "another connection of this client is on its way in")
        self._coming.add(claims.client_id)
        try:
            wish = Wish(
                claims,
                seat.connection_id,
                self._node.current(),
                str(origin.address),
                origin.loopback,
                self._good_for_days,
            )
            verdict = await self._registry.claim(wish)
            if isinstance(verdict, Held) and not await self._answers(verdict):
                silent = verdict.connection_id
                verdict = await self._registry.claim(wish, instead_of=silent)
                if isinstance(verdict, Claim) and silent in self._seats:
                    self._seats[silent].lose(close_codes.TAKEN_OVER)
        finally:
            self._coming.discard(claims.client_id)
        if isinstance(verdict, Held):
            raise Refused(ALREADY_CONNECTED)
        return verdict

    async def _answers(self, held: Held) -> bool:
        if held.node == self._node.name:
            seat = self._seats.get(held.connection_id)
            return seat is not None and await seat.answers(self._options.answer_within)
        if self._registry.trouble is not None:
            # Nobody's answer would be heard, and silence must not cost one that lives its place.
            raise Refused(UNAVAILABLE, "other replicas are not heard at the moment; try again", retry_after=1.0)
        probe = Probe(held.connection_id, held.node, uuid.uuid4())
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._questions[probe.question] = answer
        try:
            # A little more than the holder has: its answer is on its way back.
            async with asyncio.timeout(self._options.answer_within * 1.2):
                await self._registry.tell(probe)
                return await answer
        except TimeoutError:
            return False
        finally:
            del self._questions[probe.question]

    async def _answer(self, probe: Probe) -> None:
        seat = self._seats.get(probe.connection_id)
        alive = seat is not None and await seat.answers(self._options.answer_within)
        try:
            await self._registry.tell(Answer(probe.question, alive))
        except Unavailable as exc:
            logger.warning("a probe could not be answered: %s", exc)

    async def _release(self, seat: Seat, client_id: str) -> None:
        if seat.lost not in {None, close_codes.CLAIM_LOST}:
            return  # it is another's by now, or nobody's
        try:
            async with asyncio.timeout(_RELEASE_WITHIN):
                await self._registry.release(client_id, seat.connection_id)
        except (Unavailable, TimeoutError) as exc:
            logger.warning("a claim is left to be released later: %s", str(exc) or "no answer")

    async def _keep_looking(self) -> None:
        while True:
            self._look.clear()
            try:
                await self.look()
            except Refused:
                pass  # the lease of this node is not held, which is said elsewhere, and all claims are lost
            except Unavailable as exc:
                logger.warning("claims could not be looked at: %s", exc)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._options.look_every):
                    await self._look.wait()
