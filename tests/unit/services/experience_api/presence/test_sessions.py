import json
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from services.experience_api.presence.sessions import Noted, guarded
from services.experience_api.stream.control_events import PRESENCE_CHANNEL
from shared.events.event import decode, validate
from shared.events.headers import CONTENT_TYPE, PROVENANCE, unpack_provenance

CONNECTION = UUID(int=7)
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENDED = datetime(2026, 1, 2, 3, 9, 5, 250_000, tzinfo=UTC)


def noted(kind: str, connection: UUID = CONNECTION) -> Noted:
    return Noted(1, "billing", connection, kind, BEGAN, ENDED)


@pytest.mark.parametrize("kind", ["came", "left"])
def test_what_was_noted_becomes_an_event(kind: str) -> None:
    (record,) = guarded(noted(kind)).records
    assert record.key == PRESENCE_CHANNEL.encode()
    # Its type is reserved: no entrance takes it from others. All else is as an entrance requires.
    validate(decode(record.value or b"") | {"type": msgspec.Raw(b'"order"')})
    assert json.loads(record.value or b"") == {
        "specversion": "1.0",
        "id": f"{CONNECTION}/{kind}",
        "source": "/presence",
        "type": f"trelay.presence.{kind}",
        "subject": "billing",
        "time": "2026-01-02T03:09:05.250Z",
        "channel": "trelay.presence",
        "datacontenttype": "application/json",
        "data": {
            "client_id": "billing",
            "connection": str(CONNECTION),
            "connected_at": "2026-01-02T03:04:05.000Z",
        },
    }
    assert record.headers[0] == CONTENT_TYPE
    assert unpack_provenance(dict(record.headers)[PROVENANCE]) == (
        "presence",
        int(ENDED.timestamp() * 1000),
        f"{CONNECTION}/{kind}",
    )


def test_each_kind_of_each_connection_has_a_key_of_its_own() -> None:
    keys = [guarded(noted(kind, UUID(int=number))).key for kind in ("came", "left") for number in (1, 2)]
    assert len(set(keys)) == 4
    assert guarded(noted("came")).key == guarded(noted("came")._replace(id=2, at=BEGAN)).key
