"""The same aggregate and the same join with Bytewax, which runs this module in an environment without Trelay.

One worker gets the events of a file in batches of 1,000. Nothing is kept for a restart: a recovery store would add to
that. `ABORT` ends the run before windows close, as they do not close in the other rows either.

- `aggregate` counts and sums in a map with state, by key and hour. It knows no time: it closes no window, and takes
  late events.
- `windows` does it in the windows of Bytewax. These look at every key for each batch, so it gets fewer keys.
- `join` emits each pair as soon as there is one, and also each event that has none yet: Bytewax has no mode without
  those. It removes no event.
"""

import importlib
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from benchmarks.state.meter import Meter

flows: Any = importlib.import_module("bytewax.dataflow")
operators: Any = importlib.import_module("bytewax.operators")
windowing: Any = importlib.import_module("bytewax.operators.windowing")
testing: Any = importlib.import_module("bytewax.testing")

PER_BATCH = 1000


def run(name: str, path: Path) -> None:
    """Run the events of a file through one of them."""
    given: list[Any] = [(key, value) for key, _, value in (line.partition("\t") for line in path.open())]
    count, out = len(given), list[Any]()
    flow = flows.Dataflow("bench")
    source = testing.TestingSource([*given, testing.TestingSource.ABORT()], batch_size=PER_BATCH)
    made = FLOWS[name](operators.input("in", flow, source))
    operators.output("out", made, testing.TestingSink(out))
    meter = Meter()
    testing.run_main(flow)
    meter.report(count)


def aggregate(stream: Any) -> Any:
    """Count and sum in a map with state."""

    def parse(each: tuple[str, str]) -> tuple[str, Any]:
        event = json.loads(each[1])
        return f"{each[0]}/{event['time'][:13]}", event

    def count(total: tuple[int, float] | None, event: Any) -> tuple[tuple[int, float], Any]:
        before = total or (0, 0.0)
        after = before[0] + 1, before[1] + event["data"]["amount"]
        return after, after

    counted = operators.stateful_map("count", operators.map("parse", stream, parse), count)
    return operators.filter("results", counted, lambda _: False)  # the other rows emit none before a window closes


def windows(stream: Any) -> Any:
    """Count and sum in windows."""

    def fold(total: tuple[int, float], event: Any) -> tuple[int, float]:
        return total[0] + 1, total[1] + event["data"]["amount"]

    def merge(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
        return one[0] + other[0], one[1] + other[1]

    keyed = operators.map("parse", stream, lambda each: (each[0], json.loads(each[1])))
    clock = windowing.EventClock(lambda event: datetime.fromisoformat(event["time"]), timedelta(0))
    windower = windowing.TumblingWindower(timedelta(hours=1), datetime(2026, 1, 1, tzinfo=UTC))
    return windowing.fold_window("fold", keyed, clock, windower, lambda: (0, 0.0), fold, merge, ordered=False).down


def join(stream: Any) -> Any:
    """Join orders and payments."""
    keyed = operators.map("parse", stream, lambda each: (each[0], json.loads(each[1])))
    sides = operators.branch("sides", keyed, lambda each: each[1]["source"] == "/sources/orders")
    return operators.join("join", sides.trues, sides.falses, insert_mode="product", emit_mode="running")


FLOWS = {"aggregate": aggregate, "windows": windows, "join": join}

if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
