"""What a registry promises of notices."""

import uuid

from services.experience_api.registry.notices import Answer, Lost, Notice, Probe, Why
from services.experience_api.registry.protocol import Registry
from tests.contracts.registry.deployment import Deployment, RegistryFixtures, listening


class NoticesContract(RegistryFixtures):
    async def test_every_replica_hears_what_is_told(self, deployment: Deployment, registry: Registry) -> None:
        said: list[Notice] = [
            Probe(uuid.uuid4(), "one", uuid.uuid4()),
            Answer(uuid.uuid4(), alive=False),
            Lost(uuid.uuid4(), Why.REMOVED),
        ]
        async with deployment.connect() as second, listening(registry) as one, listening(second) as other:
            for notice in said:
                await registry.tell(notice)
            await one.heard(said[-1])
            await other.heard(said[-1])
        assert one.notices == other.notices == [None, *said]

    async def test_nothing_is_heard_after_the_end(self, registry: Registry) -> None:
        async with listening(registry) as ear:
            pass
        await registry.tell(Answer(uuid.uuid4(), alive=True))
        assert ear.notices == [None]

    async def test_while_it_hears_there_is_no_trouble(self, registry: Registry) -> None:
        async with listening(registry):
            assert registry.problem is None
