"""Opens a table whose changes are read from the log of PostgreSQL."""

from contextlib import AsyncExitStack

from services.system_api.sources.source import Source
from services.system_api.sources.table import timestamps
from services.system_api.sources.table.ledger import Row
from services.system_api.sources.table.opening.assembly import Assembly
from services.system_api.sources.table.postgresql.keeper import SessionKeeper
from services.system_api.sources.table.postgresql.replication.changes import Kind
from services.system_api.sources.table.postgresql.replication.log import TableLog
from services.system_api.sources.table.postgresql.replication.log_state import LogState, SnapshotProgress
from services.system_api.sources.table.postgresql.replication.slot import check_place
from services.system_api.sources.table.postgresql.replication.source import LogEvents, LogSource
from services.system_api.sources.table.postgresql.replication.transactions import Place
from services.system_api.sources.table.rows import RowEvents
from services.system_api.sources.table.source import ChangeSignal


async def open_replication(stack: AsyncExitStack, assembly: Assembly) -> Source:
    """Open the source; `stack` closes it."""
    options, signal = assembly.options, ChangeSignal()
    keeper = SessionKeeper(assembly.name, options, signal.set)
    stack.callback(keeper.close)
    log = TableLog(assembly.name, keeper, assembly.clock)
    stack.callback(log.close)
    with keeper.errors():
        system = await log.open(new=not assembly.checkpoint)
        status = await log.look()
        state = LogState((await keeper.session()).shape.mode, system, assembly.checkpoint)
    if state.place is None:
        state.place = Place(status.confirmed, 0)
        state.snapshot = SnapshotProgress() if options.initial_snapshot else None
    else:
        check_place(log.slot, status, state.place.lsn)
    return LogSource(keeper, log, state, _events(assembly), signal, assembly.clock)


def _events(assembly: Assembly) -> LogEvents:
    options = assembly.options
    types: dict[Kind, str] = {
        "state": options.type,
        "deleted": options.deleted_type or f"{options.type}.deleted",
        "truncated": f"{options.type}.truncated",
    }
    time = timestamps.absolute()
    changes = {
        kind: RowEvents(
            assembly.builder(type_), options.table, options.subject_name, options.row_limit, _position, time
        )
        for kind, type_ in types.items()
    }
    return LogEvents(changes, assembly.events(_position_of_snapshot, timestamps.unknown))


def _position(row: Row[int]) -> str:
    return f"{row.key}@{row.version}"


def _position_of_snapshot(row: Row[int]) -> str:
    # The transaction that wrote the state: the same whenever it is read again.
    return f"{row.key}@x{row.version}"
