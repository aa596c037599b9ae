import subprocess
import sys

import pytest

from services.cli import main
from services.cli.command import COMMANDS


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], ["subscribe", "-h"], ["clients", "add", "--help"]])
def test_help_teaches_by_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "Usage: trelay" in said
    assert "Example" in said


def test_every_command_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    listed = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0]
    assert dict(line.split(maxsplit=1) for line in listed.splitlines()) == {
        name: line for name, (_, _, line) in COMMANDS.items()
    }
    for name in COMMANDS:
        assert main([name, "--help"]) == 0


def test_help_imports_no_service() -> None:
    code = "import sys; from services.cli import main; main(['--help']); sys.exit('aiohttp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("trelay ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (
            ["clients", "list", "--config", "/absent.yaml"],
            "/absent.yaml: the settings file cannot be read: No such file",
        ),
        (["migrate", "--config", "/absent.yaml"], "/absent.yaml: the settings file cannot be read: No such file"),
    ],
)
def test_a_usage_error_is_one_sentence(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


SCHEMA = "exec {python} -m services.cli schema {streams}"


@pytest.mark.parametrize(
    ("streams", "status", "said"),
    [
        (">/dev/full", 1, "trelay: No space left on device\n"),
        ("<&- >&-", 0, ""),
    ],
)
def test_output_that_goes_nowhere_is_no_traceback(streams: str, status: int, said: str) -> None:
    shell = SCHEMA.format(python=sys.executable, streams=streams)
    ended = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (status, said)


def test_a_closed_output_ends_the_command_without_an_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "services.cli", "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(60) == 1  # as click has it
