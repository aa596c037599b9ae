"""`trelay eval` on sample events."""

import io
import json
import sys
from pathlib import Path

import pytest

from services.cli import main

SETTINGS = """
process:
  pipelines:
    orders:
      sources: ["shop"]
      steps:
        - filter: status = 'open'
        - validate: {type: object, required: [region]}
        - route: "'orders.' & region"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "trelay.yaml"
    path.write_text(SETTINGS)
    return str(path)


def given(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let standard input hold these lines."""
    content = io.BytesIO("".join(f"{line}\n" for line in lines).encode())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(content))


def test_an_expression_prints_its_value_for_each_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    event = {"specversion": "1.0", "id": "7", "source": "/s", "type": "t", "subject": "C-9", "data": {"n": 2}}
    given(monkeypatch, '{"n": 9007199254740993}', "", "{}", json.dumps(event))
    assert main(["eval", "n"]) == 0
    assert capfd.readouterr().out == "9007199254740993\nundefined\n2\n"


def test_an_expression_sees_the_attributes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "samples.ndjson"
    file.write_text('{"specversion":"1.0","id":"7","source":"/s","type":"t","subject":"C-9"}\n')
    assert main(["eval", "$event.subject", str(file)]) == 0
    assert capfd.readouterr().out == '"C-9"\n'


def test_a_line_that_fails_is_named_and_the_others_are_done(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, '{"a": 1}', '{"a":', '{"a": 1e400}', '{"a": "x"}', '{"a": 2}')
    assert main(["eval", "a + 1"]) == 1
    out, err = capfd.readouterr()
    assert out == "2\n3\n"
    malformed, large, failed = err.splitlines()
    assert malformed == "line 2: Input data was truncated"
    assert large == "line 3: a, byte 6: found the number 1e400; expected at most 1.8e308, the range of a double"
    assert failed.startswith("line 4: the expression failed: ")


def test_a_pipeline_of_several_parts_prints_what_its_last_part_publishes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "trelay.yaml"
    config.write_text("""
process:
  pipelines:
    customers:
      sources: [shop]
      channel: customers.totals
      steps:
        - repartition: customer
        - aggregate: {window: {tumbling: 60}, values: {orders: count, total: {sum: amount}}}
        - repartition: $floor(total / 10)
        - set: {data.seen: true}
""")
    lines = [
        {"specversion": "1.0", "id": f"{number}", "source": "/s", "type": "t", "subject": f"order-{number}",
         "time": f"2026-01-01T10:0{minute}:00Z", "data": {"customer": customer, "amount": 15}}
        for number, (minute, customer) in enumerate([(0, "C-1"), (0, "C-2"), (0, "C-1"), (1, "C-1"), (1, "")])
    ]  # fmt: skip
    given(monkeypatch, *map(json.dumps, lines))
    assert main(["eval", "--pipeline", "customers", "--config", str(config)]) == 1
    out, err = capfd.readouterr()
    made = [json.loads(line) for line in out.splitlines()]
    assert [
        (each["subject"], each["data"]["orders"], each["data"]["total"], each["data"]["seen"]) for each in made
    ] == [
        ("3", 2, 30, True),
        ("1", 1, 15, True),
    ]
    assert err == (
        'line 5: dead letter: steps.0.repartition: customer is ""; '
        "expected text that is not empty, a number or a boolean\n"
    )


def test_a_pipeline_prints_what_it_publishes_and_its_dead_letters(
    monkeypatch: pytest.MonkeyPatch, config: str, capfd: pytest.CaptureFixture[str]
) -> None:
    given(
        monkeypatch,
        '{"status": "open", "region": "eu"}',
        '{"status": "closed"}',
        '{"status": "open"}',
        '{"specversion": "1.0", "status": "open"}',
    )
    assert main(["eval", "--pipeline", "orders", "--config", config]) == 1
    out, err = capfd.readouterr()
    (event,) = map(json.loads, out.splitlines())
    assert event["channel"] == "orders.eu"
    assert event["data"] == {"status": "open", "region": "eu"}
    invalid, incomplete = err.splitlines()
    assert invalid.startswith("line 3: dead letter: steps.1.validate: ")
    assert incomplete == "line 4: dead letter: event: attribute 'id' is missing or empty"


def test_a_line_that_is_no_json_at_all_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "samples.ndjson"
    file.write_bytes(b'{"\xff": 1}\n{"specversion": ' + b"[" * 100_000 + b'\n{"a": 2}\n')
    assert main(["eval", "a", str(file)]) == 1
    out, err = capfd.readouterr()
    assert out == "2\n"
    assert [line.partition(":")[0] for line in err.splitlines()] == ["line 1", "line 2"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ([], "expected an expression, or --pipeline NAME, and at most one file"),
        (["a", "b", "c"], "expected an expression, or --pipeline NAME, and at most one file"),
        (["--pipeline", "orders", "a", "b"], "expected --pipeline NAME alone and at most one file"),
        (["a +"], "the expression: the expression does not compile"),
        (["$summ(a)"], "the expression: unknown function $summ at column 1 of the expression; did you mean $sum?"),
        (["a", "missing.ndjson"], "missing.ndjson: the file cannot be read: No such file or directory"),
    ],
)
def test_wrong_usage(arguments: list[str], error: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", *arguments]) == 2
    assert error in capfd.readouterr().err


def test_an_unknown_pipeline_names_those_there_are(config: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--pipeline", "order", "--config", config]) == 2
    assert capfd.readouterr().err == f"{config}: there is no pipeline 'order'; the file has: orders\n"
