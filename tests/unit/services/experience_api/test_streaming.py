"""What the stream is made of, as the settings say."""

from typing import cast

from prometheus_client import CollectorRegistry

from services.experience_api.metrics import ExperienceMetrics
from services.experience_api.producers.once.memory import MemoryKeyStore
from services.experience_api.producers.once.options import OnceOptions
from services.experience_api.sessions.connections import Connections
from services.experience_api.sessions.dependencies import StreamParts
from services.experience_api.sessions.node import NodeLease
from services.experience_api.settings import ExperienceSettings
from services.experience_api.stream.auditing.writing import AuditOptions
from services.experience_api.stream.options import DeliveryOptions
from services.experience_api.streaming import Streaming, new_id
from shared.alerts import RecordingAlerts
from shared.bus.memory import MemoryBus
from shared.bus.memory.log import MemoryRecord
from shared.bus.topics import TopicsOptions
from shared.composition.parts import opened_parts
from shared.events.headers import headers_of
from shared.http.server import Health


async def test_there_is_an_audit_where_the_settings_have_one_and_what_is_written_is_measured() -> None:
    registry, topics = CollectorRegistry(), TopicsOptions()
    metrics = ExperienceMetrics(registry)
    opened = opened_parts(
        "experience_api", ExperienceSettings(), bus=MemoryBus(), alerts=RecordingAlerts(), health=Health("test")
    )
    async with opened as parts, MemoryBus().appender() as appender:

        def made_with(audit: AuditOptions | None) -> StreamParts:
            keys = MemoryKeyStore(bool)
            streaming = Streaming(topics, DeliveryOptions(), OnceOptions(), audit, keys, metrics, parts)
            return streaming.stream_parts(cast("Connections", None), cast("NodeLease", None))

        assert made_with(None).auditing is None
        made = made_with(AuditOptions())
        assert made.auditing is not None
        assert made.auditing(appender)._topic == "trelay.audit"
        made.on_first(MemoryRecord("t", 0, 0, 0, b"c", b"{}", headers_of(b"orders 5 orders:1")))
    labels = {"hop": "deliver", "source": "orders"}
    assert registry.get_sample_value("trelay_hop_seconds_count", labels) == 1


def test_ids_are_new() -> None:
    assert new_id() != new_id()
