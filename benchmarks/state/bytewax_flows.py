"""The same windows and the same join with Bytewax, which runs this module in an environment of its own, without Trelay.

One worker gets the events of a file in batches of 1,000. It need not put them into the order of their times. `ABORT`
ends the run without closing the windows: the other rows do not close them either. A join emits each pair as soon as
there is one; Bytewax then also emits each event that has none yet. Its state is not kept: a recovery store would add to
that.
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
    """Run the events of a file through the windows (`aggregate`) or the join."""
    given: list[Any] = [(key, value) for key, _, value in (line.partition("\t") for line in path.open())]
    count, out = len(given), list[Any]()
    source = testing.TestingSource([*given, testing.TestingSource.ABORT()], batch_size=PER_BATCH)
    flow = flows.Dataflow("bench")
    parsed = operators.map("parse", operators.input("in", flow, source), lambda each: (each[0], json.loads(each[1])))
    clock = windowing.EventClock(lambda event: datetime.fromisoformat(event["time"]), timedelta(0))
    windower = windowing.TumblingWindower(timedelta(hours=1), datetime(2026, 1, 1, tzinfo=UTC))
    made = (aggregate if name == "aggregate" else join)(parsed, clock, windower)
    operators.output("out", made.down, testing.TestingSink(out))
    meter = Meter()
    testing.run_main(flow)
    meter.report(count)


def aggregate(parsed: Any, clock: Any, windower: Any) -> Any:
    """Count and sum."""

    def fold(total: tuple[int, float], event: Any) -> tuple[int, float]:
        return total[0] + 1, total[1] + event["data"]["amount"]

    def merge(one: tuple[int, float], other: tuple[int, float]) -> tuple[int, float]:
        return one[0] + other[0], one[1] + other[1]

    return windowing.fold_window("fold", parsed, clock, windower, lambda: (0, 0.0), fold, merge, ordered=False)


def join(parsed: Any, clock: Any, windower: Any) -> Any:
    """Join orders and payments."""
    sides = operators.branch("sides", parsed, lambda each: each[1]["source"] == "/sources/orders")
    return windowing.join_window(
        "join", clock, windower, sides.trues, sides.falses, insert_mode="product", emit_mode="running", ordered=False
    )


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]))
