import asyncio
import io
import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from services.cli import main
from services.standalone.settings import WholeSettings
from shared.bus.connect import connect
from shared.bus.kafka.options import KafkaOptions
from shared.bus.topics import TopicsOptions
from shared.database.options import DatabaseOptions
from shared.settings import json_schema
from tests.servers.kafka import Kafka
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


async def test_each_system_that_responds_is_listed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    await asyncio.to_thread(main, ["migrate", "--config", str(file)])
    capsys.readouterr()
    assert await checked(str(file), "--live") == 0
    right, database, bus, source, mail = capsys.readouterr().out.splitlines()
    assert right == f"{file}: OK, 1 warning"
    assert database.startswith("ok      database       PostgreSQL 1")
    assert bus.startswith("ok      bus            postgres; trelay.publish ")
    assert source == "ok      source/orders  an event can be read"
    assert mail.startswith("ok      mail           127.0.0.1:")


async def test_topics_that_a_service_would_refuse_are_a_failure(
    file: Path, kafka: Kafka, unique_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    topics = TopicsOptions(prefix=unique_name, partitions=1)
    options = KafkaOptions(servers=kafka.bootstrap, topics=topics)
    async with connect(options, DatabaseOptions()) as bus:
        await bus.ensure_topics([each for each in topics.all() if each.name == topics.publish])
    settings = f"kind: kafka\n  servers: {kafka.bootstrap}\n  topics: {{prefix: {unique_name}, partitions: %d}}"
    for partitions, found in ((1, "kafka; %s has 1 partitions"), (8, "topic %s: partitions is 1, the settings say 8")):
        file.write_text(RIGHT.replace("kind: postgres", settings % partitions))
        await checked(str(file), "--live")
        (line,) = [each for each in capsys.readouterr().out.splitlines() if each.split()[1] == "bus"]
        assert line.split(maxsplit=2) == ["ok" if partitions == 1 else "failed", "bus", found % topics.publish]


async def test_each_system_that_does_not_respond_is_listed_with_the_reason(
    file: Path, smtp: MailServer, capsys: pytest.CaptureFixture[str]
) -> None:
    smtp.down()
    (file.parent / "orders.ndjson").write_text("no json\n")
    assert await checked(str(file), "--live") == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]].count("failed") >= 2
    assert "failed  source/orders  the first input is not an event: " in "\n".join(lines)
    assert f"failed  mail           mail server 127.0.0.1:{smtp.port}: " in "\n".join(lines)


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
    assert f"{file}:13:53: process.pipelines.p.steps.0: " in capsys.readouterr().err
    file.write_text(
        f"{RIGHT}process:\n  pipelines:\n    p: {{sources: [orders], channel: orders, steps: [{{map: '1 +'}}]}}\n"
    )
    assert await checked(str(file)) == 2
    assert f"{file}:13:" in capsys.readouterr().err


async def test_a_certificate_that_cannot_be_used_is_a_fault(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(f"{RIGHT}experience:\n  listen: {{tls: {{cert_file: a.pem, key_file: a.key}}}}\n")
    assert await checked(str(file), "--live") == 2
    captured, unreadable = capsys.readouterr(), "cannot be read: No such file or directory"
    assert captured.out == ""
    assert captured.err.splitlines() == [
        f"{file}:12:18: experience.listen.tls.cert_file: {file.parent}/a.pem {unreadable}",
        f"{file}:12:36: experience.listen.tls.key_file: {file.parent}/a.key {unreadable}",
    ]


async def test_a_pipeline_of_a_source_that_is_not_there_is_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(f"{RIGHT}process:\n  pipelines:\n    p: {{sources: [ordres], channel: orders, steps: []}}\n")
    assert await checked(str(file)) == 2
    left, name = capsys.readouterr().err.splitlines()
    assert name == f"{file}:13:19: process.pipelines.p.sources.0: found no source 'ordres'; did you mean 'orders'?"
    assert left.startswith(
        f"{file}:10:5: system.sources.orders: found no `channel`, and no pipeline that takes its events"
    )


async def test_a_source_whose_pipelines_may_be_elsewhere_is_a_warning(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await checked(str(file)) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{file}: OK, 1 warning\n"
    assert captured.err.startswith(f"{file}:10:5: warning: system.sources.orders: found no `channel`")
    assert captured.err.count("\n") == 1


LEADING_NOWHERE = """system:
  sources:
    clicks: {kind: file, path: clicks.ndjson, subject: customer.id, type: click.seen}
    orders: {kind: table, url: postgresql://reader@db.example.com/shop, table: shop.orders, type: order}
experience:
  listen: {host: 0.0.0.0}
"""


async def test_warnings_are_counted_and_change_no_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trelay.yaml"
    file.write_text(LEADING_NOWHERE)
    assert await checked(str(file)) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{file}: OK, 4 warnings\n"
    assert [
        line.removeprefix(f"{file}:").partition(", ")[0].partition(";")[0] for line in captured.err.splitlines()
    ] == [
        "3:5: warning: system.sources.clicks: found no `channel`",
        "4:5: warning: system.sources.orders: found no `channel`",
        "4:27: warning: system.sources.orders.url: db.example.com is another machine",
        "6:12: warning: experience.listen.host: 0.0.0.0 accepts connections from other machines without TLS",
    ]


QUIET = "system: {sources: {a: {kind: file, path: a.ndjson, type: t, subject: id, channel: a}}}\n"


async def test_without_warnings_it_is_ok(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "trelay.yaml"
    file.write_text(QUIET)
    assert await checked(str(file)) == 0
    assert capsys.readouterr() == (f"{file}: OK\n", "")


@pytest.mark.parametrize("text", ["", "# only a comment\n", "{}", "---\n", "system:\nprocess: {}\n", "null"])
async def test_a_file_without_settings_is_an_error(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trelay.yaml"
    file.write_text(text)
    assert await checked(str(file)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{file}:1:1: no settings; expected at least one section: database, bus, ")
    assert captured.err.count("\n") == 1


async def test_several_files_are_checked_separately(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("good", "wrong", "doubtful", "absent")
    good, wrong, doubtful, absent = (tmp_path / f"{name}.yaml" for name in names)
    good.write_text(QUIET)
    wrong.write_text("sytem: {}")
    doubtful.write_text(LEADING_NOWHERE)
    assert await checked(str(good), str(wrong), "--config", str(doubtful), str(absent)) == 2
    captured = capsys.readouterr()
    assert captured.out == f"{good}: OK\n{doubtful}: OK, 4 warnings\n"
    assert f"{wrong}:1:1: sytem: unknown key 'sytem'" in captured.err
    assert f"{absent}: the settings file cannot be read: No such file" in captured.err
    assert await checked(str(good), str(doubtful)) == 0


@pytest.mark.parametrize("arguments", [["--config", "mine.yaml"], ["-c", "mine.yaml"], ["mine.yaml"], []])
async def test_the_file_may_be_named_in_each_way_that_other_commands_know(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(QUIET)
    (tmp_path / "trelay.yaml").write_text("wrong: 1")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRELAY_CONFIG", "absent.yaml" if arguments else "mine.yaml")
    assert await checked(*arguments) == 0
    assert capsys.readouterr() == ("mine.yaml: OK\n", "")


async def test_without_a_name_it_is_trelay_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "trelay.yaml").write_text(QUIET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRELAY_CONFIG", raising=False)
    assert await checked() == 0
    assert capsys.readouterr().out == "trelay.yaml: OK\n"


@pytest.mark.parametrize(
    ("text", "status", "out", "err"),
    [
        (QUIET.encode(), 0, "<stdin>: OK\n", ""),
        (b"", 2, "", "<stdin>:1:1: no settings; "),
        (b"\xff", 2, "", "<stdin>:1: the settings file is not UTF-8 text"),
        (b"system: [", 2, "", "<stdin>:1:10: not YAML"),
        (
            b"experience: {listen: {tls: {cert_file: there.pem, key_file: there.pem}}}",
            2,
            "",
            "<stdin>:1:23: experience.listen.tls: ",
        ),
    ],
)
async def test_a_dash_is_standard_input(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    text: bytes,
    status: int,
    out: str,
    err: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "there.pem").write_text("no certificate")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert await checked("-") == status
    captured = capsys.readouterr()
    assert captured.out == out
    assert captured.err.startswith(err)
    assert bool(captured.err) == bool(err)


def test_the_schema_is_json_and_accepts_what_loading_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema_rs.validator_for(schema).validate(yaml.safe_load(RIGHT))
    assert schema == json_schema(WholeSettings)
