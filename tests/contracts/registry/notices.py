"""The guarantees of a registry about notices."""

import uuid

from services.experience_api.registry.notices import ClaimLost, LossReason, Notice, Probe, ProbeResult
from services.experience_api.registry.protocol import Registry
from tests.contracts.registry.deployment import Deployment, RegistryFixtures, listening


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
