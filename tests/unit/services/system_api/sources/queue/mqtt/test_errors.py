"""What a person reads when a connection to an MQTT broker fails or ends."""

import pytest
from aiomqtt import MqttError
from aiomqtt.exceptions import MqttCodeError, MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from services.system_api.sources.queue.mqtt.errors import mqtt_errors
from services.system_api.sources.queue.mqtt.options import MqttSourceOptions
from shared.errors import Unauthorized, Unavailable

OPTIONS = MqttSourceOptions.model_validate({"kind": "mqtt", "url": "mqtt://h", "topics": ["t"], "type": "t"})


def told(error: Exception) -> str:
    with pytest.raises(Unavailable) as raised, mqtt_errors(OPTIONS):
        raise error
    return str(raised.value).removeprefix("MQTT broker at h:1883")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (128, "as it does when another client connects with the same client id"),
        (139, "the broker shuts down"),
        (141, "has heard nothing from this client"),
        (142, "another client has connected with the same client id"),
        (151, "[code:151] Quota exceeded"),
    ],
)
def test_why_a_broker_ends_a_connection(code: int, reason: str) -> None:
    assert reason in told(MqttCodeError(ReasonCode(PacketTypes.DISCONNECT, identifier=code)))


def test_refused_credentials() -> None:
    refused = MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=134))
    with pytest.raises(Unauthorized, match=r"refuses user ''.*set `url` and `password`"), mqtt_errors(OPTIONS):
        raise refused
    assert "Server busy" in told(MqttConnectError(ReasonCode(PacketTypes.CONNACK, identifier=137)))


@pytest.mark.parametrize("error", [TimeoutError(), MqttError("Operation timed out")])
def test_no_answer(error: Exception) -> None:
    assert told(error) == " did not answer within 10 s"


def test_other_errors_have_their_text() -> None:
    assert told(MqttError("the broker closed the connection")) == ": the broker closed the connection"
    assert told(ConnectionRefusedError(111, "Connect call failed")) == ": connection refused"
    assert told(MqttCodeError(4)) == ": [code:4] The client is not currently connected."
