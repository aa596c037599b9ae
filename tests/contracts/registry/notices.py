"""The guarantees of a registry about notices."""

import uuid

from services.experience_api.registry.notices import ClaimLost, LossReason, Notice, Probe, ProbeResult
from services.experience_api.registry.protocol import Claim, Node, Registry
from tests.contracts.registry.deployment import Deployment, RegistryFixtures, attempt, claimed, claims, listening


class NoticesContract(RegistryFixtures):
    async def test_every_replica_receives_every_notice(self, deployment: Deployment, registry: Registry) -> None:
        sent: list[Notice] = [
            Probe(uuid.uuid4(), "one", uuid.uuid4()),
            ProbeResult(uuid.uuid4(), alive=False),
            ClaimLost(uuid.uuid4(), LossReason.REMOVED),
        ]
        async with deployment.connect() as second, listening(registry) as one, listening(second) as other:
            for notice in sent:
                await registry.notify(notice)
            await one.wait_for(sent[-1])
            await other.wait_for(sent[-1])
        assert one.notices == other.notices == [None, *sent]

    async def test_nothing_is_received_after_the_end(self, registry: Registry) -> None:
        async with listening(registry) as received:
            pass
        await registry.notify(ProbeResult(uuid.uuid4(), alive=True))
        assert received.notices == [None]

    async def test_there_is_no_problem_while_listening(self, registry: Registry) -> None:
        async with listening(registry):
            assert registry.problem is None

    async def test_the_notices_of_lost_claims_are_kept_until_their_node_takes_them(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        expected: list[Notice] = []
        for number, reason in enumerate((LossReason.REPLACED, LossReason.DISABLED, LossReason.REMOVED)):
            token = f"token {number}"
            await registry.register(claims(token=token))
            claim = await claimed(registry, node, token=token)
            expected.append(ClaimLost(claim.connection_id, reason))
            match reason:
                case LossReason.REPLACED:
                    await registry.register(claims(token="another"))
                case LossReason.DISABLED:
                    await registry.disable("demo")
                    await registry.enable("demo")
                case _:
                    await registry.unregister("demo")
        assert await registry.take_notices(other) == []
        assert await registry.take_notices(node) == expected
        assert await registry.take_notices(node) == []

    async def test_the_notice_of_a_displaced_claim_is_kept_for_the_node_that_held_it(
        self, registry: Registry, node: Node, other: Node
    ) -> None:
        await registry.register(claims())
        silent = await claimed(registry, node)
        assert isinstance(await attempt(registry, other, instead_of=silent.connection_id), Claim)
        assert await registry.take_notices(other) == []
        assert await registry.take_notices(node) == [ClaimLost(silent.connection_id, LossReason.TAKEN_OVER)]

    async def test_other_notices_are_not_kept(self, registry: Registry, node: Node) -> None:
        await registry.notify(ProbeResult(uuid.uuid4(), alive=True))
        assert await registry.take_notices(node) == []
