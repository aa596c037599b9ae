from services.experience_api.stream.snapshots.opening import SnapshotParts
from tests.unit.services.experience_api.stream.snapshots.replica import Replica


async def test_without_latest_events_there_are_no_snapshots() -> None:
    async with Replica.opened() as replica:
        parts = SnapshotParts(
            replica.history,
            replica.log_reader,
            replica.snapshots._writer,
            replica.snapshots._control_events,
            replica.clock,
            replica.snapshots._pause,
        )
        assert parts.snapshots(None, lambda *_: None) is None
