"""Opens an MQTT source at a checkpoint."""

from services.system_api.sources.queue.mqtt.options import MqttSourceOptions
from services.system_api.sources.queue.opening import BrokerClass, QueueSourceKind


class MqttSourceKind(QueueSourceKind, MqttSourceOptions):
    """Topics of an MQTT broker."""

    def broker_class(self) -> BrokerClass:
        """Return the class of the broker; see `QueueSourceKind`."""
        from services.system_api.sources.queue.mqtt.session import MqttSession  # noqa: PLC0415 -- an extra

        return MqttSession
