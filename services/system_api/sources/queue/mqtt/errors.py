"""Translates the errors of aiomqtt."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiomqtt import MqttError
from aiomqtt.exceptions import MqttCodeError, MqttConnectError

from services.system_api.sources.queue.mqtt.options import MqttSourceOptions
from shared.errors import Unauthorized, Unavailable, timed_out, underlying_reason
from shared.runtime.tls_errors import certificate_problem

_UNAUTHORIZED = {0x86, 0x87, 0x8A}
"""Bad user name or password, not authorized, banned."""
_ENDED = {
    0x80: "the broker closed the connection, as it does when another client connects with the same client id",
    0x8B: "the broker shuts down",
    0x8D: "the broker has heard nothing from this client for too long",
    0x8E: "the broker closed the connection: another client has connected with the same client id",
}
"""Why a connection ended, by reason code: paho-mqtt has 0x80 where there is none. Source: MQTT 5.0, 3.14.2.1."""


@contextmanager
def mqtt_errors(options: MqttSourceOptions) -> Iterator[None]:
    """Translate the errors of aiomqtt."""
    place = f"MQTT broker at {options.host}:{options.port}"
    try:
        yield
    except MqttConnectError as exc:
        if getattr(exc.rc, "value", exc.rc) in _UNAUTHORIZED:
            raise Unauthorized(f"{place} refuses user {options.user or ''!r}: {exc}; set `url` and `password`") from exc
        raise Unavailable(f"{place}: {exc}") from exc
    except TimeoutError as exc:
        raise Unavailable(f"{place} did not answer within {options.connect_timeout:g} s") from exc
    except (MqttError, OSError, ValueError) as exc:
        if timed_out(exc) or str(exc) == "Operation timed out":
            raise Unavailable(f"{place} did not answer within {options.connect_timeout:g} s") from exc
        ended = _ENDED.get(getattr(exc.rc, "value", 0)) if isinstance(exc, MqttCodeError) else None
        problem = certificate_problem(exc, anonymous=options.anonymous) or ended or underlying_reason(exc)
        raise Unavailable(f"{place}: {problem or str(exc) or type(exc).__name__}") from exc
