import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from services.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    config = tmp_path / "trelay.yaml"
    config.write_text(f"database:\n  url: {database}\nsystem: {{of: no concern}}\n")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = main([*arguments, "--config", str(config)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


async def test_clients_from_an_empty_database_on(run: Run) -> None:
    # The command has an event loop of its own, and so needs a thread of its own here.
    await asyncio.to_thread(_clients, run)


def _clients(run: Run) -> None:
    assert run("migrate")[0] == 0
    status, out, err = run("clients", "add", "billing", "--channels", "orders.**, stock", "--note", "team b")
    assert status == 0
    name, secret = out.splitlines()
    assert name == "client_id: billing"
    assert secret.startswith("client_secret: trs_")
    assert "cannot be shown again" in err

    status, _, err = run("clients", "add", "billing")
    assert status == 2
    assert "client 'billing' already exists; 'trelay clients set' changes it" in err
    assert run("clients", "add", "sender", "--may-send", "--loopback-only")[0] == 0

    status, out, _ = run("clients", "list")
    assert [line.split() for line in out.splitlines()] == [
        ["CLIENT", "CHANNELS", "NOTE", "TOKENS", "LAST", "ENDING"],
        ["billing", "orders.**", "stock", "team", "b", "0"],
        ["sender", "**", "may", "send,", "loopback", "only", "0"],
    ]
    assert "trs_" not in out

    assert run("clients", "set", "billing", "--channels", "orders.**,prices")[:2] == (
        0,
        "billing may subscribe to orders.** prices\n",
    )
    assert "orders.** prices" in run("clients", "list")[1]
    assert run("clients", "set", "billing", "--policy", "replace")[1] == "billing has the policy replace\n"
    assert "replace" in run("clients", "list")[1]
    assert "found nothing to change" in run("clients", "set", "billing")[2]
    assert "a..b" in run("clients", "set", "billing", "--channels", "a..b")[2]
    assert run("clients", "set", "billing", "--max-connections", "3")[1] == "billing may have 3 connections\n"
    assert "3 connections" in run("clients", "list")[1]
    status, out, _ = run("clients", "set", "billing", "--may-send", "--any-address", "--note", "", "--json")
    assert (json.loads(out)["may_send"], json.loads(out)["note"]) == (True, "")
    assert "found no client 'nobody'" in run("clients", "set", "nobody", "--channels", "a")[2]
    assert run("clients", "disable", "billing")[:2] == (0, "billing is disabled\n")
    assert "disabled" in run("clients", "list")[1]
    assert run("clients", "enable", "billing")[:2] == (0, "billing is enabled\n")
    assert "disabled" not in run("clients", "list")[1]

    status, out, err = run("clients", "rotate", "billing", "--overlap", "3600")
    assert status == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["client_id", "client_secret", "previous secret"]
    assert secret.split()[1] not in out
    assert "cannot be shown again" in err
    assert "two secrets" in run("clients", "list")[1]
    rotated = json.loads(run("clients", "rotate", "billing", "--overlap", "0", "--json")[1])
    assert rotated["client_secret"].startswith("trs_")
    assert rotated["previous_secret_until"] is None
    assert "Missing option '--overlap'" in run("clients", "rotate", "billing")[2]

    assert run("clients", "revoke", "billing")[1] == "billing has no token, and had none\n"
    assert json.loads(run("clients", "disable", "sender", "--json")[1])["disabled"]
    assert run("clients", "remove", "billing")[:2] == (0, "billing is removed\n")
    assert json.loads(run("clients", "remove", "sender", "--json")[1]) == {"client_id": "sender", "removed": True}
    assert run("clients", "list")[1].splitlines() == ["CLIENT  CHANNELS    NOTE  TOKENS  LAST ENDING"]

    for command in (["disable"], ["remove"], ["revoke"], ["rotate", "--overlap", "0"]):
        status, _, err = run("clients", *command, "nobody")
        assert status == 1
        assert "found no client 'nobody'; 'trelay clients list' lists the clients" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "no spaces please"], "client id 'no spaces please': expected"),
        (["add", "x", "--channels", "orders..eu"], "orders..eu"),
        (["add", "x", "--channels", ""], "'--channels': names no channel"),
        (["add", "x", "--channels", ","], "'--channels': names no channel"),
    ],
)
async def test_an_invalid_client_id_is_refused(run: Run, arguments: list[str], said: str) -> None:
    status, _, err = await asyncio.to_thread(run, "clients", *arguments)
    assert status == 2
    assert said in err


async def test_a_chosen_secret_is_not_repeated(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    await asyncio.to_thread(run, "migrate")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"hunter2 hunter2\n")))
    status, out, err = await asyncio.to_thread(run, "clients", "add", "x", "--secret-file", "-")
    assert (status, out) == (0, "client_id: x\n")
    assert "hunter2" not in out + err


async def test_a_database_that_is_away_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "trelay.yaml"
    config.write_text("database: {url: 'postgresql://trelay:hunter2@127.0.0.1:1/trelay'}")
    for command in (["clients", "list"], ["migrate"]):
        assert await asyncio.to_thread(main, [*command, "--config", str(config)]) == 1
        err = capsys.readouterr().err
        assert err.startswith("trelay: ")
        assert "hunter2" not in err
        assert "Traceback" not in err


async def test_without_tables_the_error_says_what_to_do(run: Run) -> None:
    status, _, err = await asyncio.to_thread(run, "clients", "list")
    assert status == 1
    assert "trelay migrate" in err
