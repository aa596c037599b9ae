"""The section `process`: what it may hold, and the errors for what it may not."""

from pathlib import Path
from textwrap import dedent, indent

import pytest

from services.process_api.settings import ProcessOptions, ProcessSettings
from shared.errors import SettingsError
from shared.settings import json_schema, parse

WHOLE = """
  pipelines:
    orders:
      sources: [orders, orders-*]
      channel: orders
      steps:
        - filter: amount > 100
        - set: {data.region: eu, subject: =customer.id}
        - drop: [data.card, data.customer.email]
        - rename: {data.cust: data.customer}
        - validate: {type: object}
        - map: |
            {
              "id": id,
              "total": $sum(lines.(price * quantity))
            }
        - route:
            by: region
            table: {eu: orders.eu, us: orders.us}
            default: orders.other
        - python: shop.orders:enrich
    everything:
      sources: ["*"]
      channel: all
"""


def read(process: str, folder: Path | None = None) -> ProcessOptions:
    return parse(f"process:\n{process}", ProcessSettings, {}, name="f.yaml", folder=folder).process


def steps(*lines: str) -> str:
    written = "\n".join(f"- {line}" for line in lines)
    return f"  pipelines:\n    orders:\n      sources: [orders]\n      steps:\n{indent(dedent(written), ' ' * 8)}\n"


def test_every_setting_is_read() -> None:
    options = read(WHOLE)
    assert list(options.pipelines) == ["orders", "everything"]
    assert len(options.pipelines["orders"].steps) == 8


def test_every_setting_has_a_default() -> None:
    assert parse("", ProcessSettings, {}).process.pipelines == {}


STEP = "process.pipelines.orders.steps.0"


@pytest.mark.parametrize(
    ("written", "error"),
    [
        (steps("filter: 'amount >'"), f"f.yaml:6:11: {STEP}.filter: the expression does not compile"),
        (steps("filtr: a"), f"f.yaml:6:11: {STEP}: unknown key 'filtr'; did you mean 'filter'?"),
        (steps("filter"), f"{STEP}: expected one step"),
        (steps("set: {id: 5}"), f"{STEP}.set.id: the key itself: 'id' cannot be changed"),
        (steps("set: {data.a: =b +}"), f"f.yaml:6:17: {STEP}.set.data.a: the expression does not compile"),
        (
            steps("filter: $lenth(a) > 1"),
            f"f.yaml:6:11: {STEP}.filter: unknown function $lenth at column 1 of the expression; did you mean $length?",
        ),
        (steps("map: '$upercase(region)'"), f"f.yaml:6:11: {STEP}.map: unknown function $upercase at column 1"),
        (steps("map: '$upercase(region)'"), " of the expression; did you mean $uppercase?"),
        (steps("set: {data.a: .nan}"), f"f.yaml:6:17: {STEP}.set.data.a: expected a finite number, found NaN"),
        (
            steps("set: {data.a: 1, type: [a]}"),
            f"f.yaml:6:28: {STEP}.set.type: attribute 'type': found [\"a\"]; expected text",
        ),
        (
            steps("set: {data.a: 1, data.b: =$nw()}"),
            f"f.yaml:6:28: {STEP}.set.data.b: unknown function $nw at column 1",
        ),
        (steps("route: '$evnt.type'"), f"f.yaml:6:11: {STEP}.route: unknown variable $evnt at column 1"),
        (steps("route: {by: '$evnt.type', table: {x: y}}"), f"f.yaml:6:19: {STEP}.route.by: unknown variable $evnt"),
        (steps("filter: $a($b)"), "unknown function $a at column 1 of the expression: "),
        (steps("filter: $a($b)"), "; unknown variable $b at column 4 of the expression; bound there: $event"),
        (steps("drop: data..a"), f"{STEP}.drop: 'data..a' is not a path"),
        (steps("drop: [data.a, data..a]"), f"{STEP}.drop.1: 'data..a' is not a path"),
        (steps("rename: {data.a: source}"), f"{STEP}.rename.data.a: 'source' cannot be changed"),
        (steps("route: {by: a, table: {x: 'a b'}}"), f"{STEP}.route.table.x: channel 'a b'"),
        (steps("route: {by: a, table: {x: y}, defualt: z}"), f"{STEP}.route.defualt: unknown key"),
        (steps("validate: missing.json"), f"{STEP}.validate: the schema 'missing.json' cannot be read"),
        (steps("python: no function"), f"{STEP}.python: found 'no function'; expected a function"),
        ("  pipelines: {Orders: {sources: [a]}}", "process.pipelines.Orders: the key itself"),
        ("  pipelines: {orders: {}}", "process.pipelines.orders.sources: is required"),
        ("  pipelines: {orders: {sources: [a], chanel: b}}", "did you mean 'channel'?"),
        ("  transaction: {events: 0}", "process.transaction.events: must be at least 1"),
    ],
)
def test_an_error_names_its_place(tmp_path: Path, written: str, error: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(written, tmp_path)
    assert error in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_the_path_of_a_schema_is_relative_to_the_settings(tmp_path: Path) -> None:
    (tmp_path / "order.json").write_text('{"type": "object"}')
    options = read(steps("validate: order.json"), tmp_path)
    before = options.pipelines["orders"].version
    (tmp_path / "order.json").write_text('{"type": "array"}')
    assert read(steps("validate: order.json"), tmp_path).pipelines["orders"].version != before


def test_the_json_schema_holds_every_step() -> None:
    written = str(json_schema(ProcessSettings))
    for kind in ("filter", "map", "set", "drop", "rename", "route", "validate", "python"):
        assert f"'{kind}': {{" in written
