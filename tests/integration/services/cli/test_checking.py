import asyncio
import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from services.cli import main
from services.standalone.settings import WholeSettings
from shared.settings import json_schema
from tests.servers.smtp import MailServer

RIGHT = """\
database:
  url: ${DATABASE}
bus:
  kind: postgres
alerts:
  recipients: [devops@example.com]
  smtp: {host: 127.0.0.1, port: "${SMTP_PORT}", security: none}
system:
  sources:
    orders: {kind: file, path: orders.ndjson, format: ndjson, mode: tail, type: order.updated, subject: id}
"""


@pytest.fixture
def file(tmp_path: Path, database: str, smtp: MailServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATABASE", database)
    monkeypatch.setenv("SMTP_PORT", str(smtp.port))
    (tmp_path / "orders.ndjson").write_text('{"id": 1}\n')
    (tmp_path / "trelay.yaml").write_text(RIGHT)
    return tmp_path / "trelay.yaml"


async def checked(*arguments: str) -> int:
    # The command has an event loop of its own, and so needs a thread of its own here.
    return await asyncio.to_thread(main, ["check", *arguments])


async def test_what_answers_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await asyncio.to_thread(main, ["migrate", "--config", str(file)])
    capsys.readouterr()
    assert await checked(str(file), "--live") == 0
    right, database, bus, source, mail = capsys.readouterr().out.splitlines()
    assert right == f"{file} is right"
    assert database.startswith("ok      database       PostgreSQL 1")
    assert bus.startswith("ok      bus            postgres; trelay.publish ")
    assert source == "ok      source orders  an event can be read"
    assert mail.startswith("ok      mail server    127.0.0.1:")


async def test_what_does_not_answer_is_said_with_the_reason(
    file: Path, smtp: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    smtp.down()
    (file.parent / "orders.ndjson").write_text("no json\n")
    assert await checked(str(file), "--live") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]].count("failed") >= 2
    assert "failed  source orders  what comes first is no event: " in "\n".join(lines)
    assert f"failed  mail server    mail server 127.0.0.1:{smtp.port}: " in "\n".join(lines)


async def test_a_wrong_file_is_not_asked_about(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(RIGHT.replace("subject: id", "subjekt: id").replace("recipients", "recipient"))
    assert await checked(str(file), "--live") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "alerts.recipient: unknown key 'recipient'; did you mean 'recipients'?" in captured.err
    assert "system.sources.orders.subjekt: unknown key 'subjekt'; did you mean 'subject'?" in captured.err
    assert "Traceback" not in captured.err


async def test_an_expression_that_cannot_run_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = "{map: '( $f := function($n) { $f($n + 1) }; $f(0) )'}"
    file.write_text(f"{RIGHT}process:\n  pipelines:\n    p: {{sources: [orders], channel: orders, steps: [{step}]}}\n")
    assert await checked(str(file)) == 2
    assert f"{file}: process.pipelines.p.steps.0: " in capsys.readouterr().err
    file.write_text(
        f"{RIGHT}process:\n  pipelines:\n    p: {{sources: [orders], channel: orders, steps: [{{map: '1 +'}}]}}\n"
    )
    assert await checked(str(file)) == 2
    assert f"{file}:13:" in capsys.readouterr().err


async def test_a_certificate_that_cannot_be_used_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(f"{RIGHT}experience:\n  listen: {{tls: {{cert_file: a.pem, key_file: a.key}}}}\n")
    assert await checked(str(file), "--live") == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "certificate of experience" in line]
    assert line.startswith("failed  certificate of experience  ")
    assert f"{file.parent / 'a.pem'}" in line


async def test_a_pipeline_of_a_source_that_is_not_there_is_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"{RIGHT}process:\n  pipelines:\n    p: {{sources: [ordres], channel: orders, steps: []}}\n")
    assert await checked(str(file)) == 2
    name, left = capsys.readouterr().err.splitlines()
    assert name == f"{file}: process.pipelines.p.sources.0: no source is called 'ordres'; did you mean 'orders'?"
    assert left.startswith(f"{file}: system.sources.orders: no channel, and no pipeline takes its events")


async def test_a_source_whose_pipelines_may_be_elsewhere_is_a_warning(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await checked(str(file)) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{file} is right\n"
    assert captured.err.startswith(f"{file}: warning: system.sources.orders: no channel")


def test_the_schema_is_json_and_accepts_what_loading_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema_rs.validator_for(schema).validate(yaml.safe_load(RIGHT))
    assert schema == json_schema(WholeSettings)
