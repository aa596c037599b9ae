"""The parts that every table source is made of."""

from collections.abc import Callable
from dataclasses import dataclass

from services.system_api.sources.source import Checkpoint, EventBuilder
from services.system_api.sources.table.entries import Order
from services.system_api.sources.table.options import TableSourceOptions
from services.system_api.sources.table.rows import PositionOf, RowEvents, Time
from shared.runtime.clock import Clock

_NULL_KEY_SHARE = 0.2
"""Share of `poll_timeout` that a search for rows without a key may take."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """What a source is made from."""

    name: str
    options: TableSourceOptions
    builder: Callable[[str], EventBuilder]
    """Makes the builder of events of a type."""
    checkpoint: Checkpoint
    clock: Clock

    @property
    def null_key_timeout(self) -> float:
        """Seconds that a search for rows without a key may take."""
        return self.options.poll_timeout * _NULL_KEY_SHARE

    def events(self, position: PositionOf[Order], time: Time[Order]) -> RowEvents[Order]:
        """Return what makes the events of rows."""
        options = self.options
        builder = self.builder(options.type)
        return RowEvents(builder, options.relation, options.subject_name, options.row_limit, position, time)
