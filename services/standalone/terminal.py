"""The output of `make run` and `make run-kafka` on the terminal."""

import errno
import os
import shlex
import signal
import sys
from pathlib import Path
from shutil import which

from services.standalone.data import EXAMPLES

DEMO = "demo"
"""The id and the secret of the demo client."""


def say(text: str) -> None:
    """Print at once; stop the process when the output is closed (`head` has ended, the terminal is gone)."""
    try:
        print(text, flush=True)
    except OSError as exc:
        if exc.errno not in {errno.EPIPE, errno.EIO}:
            raise
        mute()
        signal.raise_signal(signal.SIGTERM)


def mute() -> None:
    """Redirect standard output to /dev/null, so that buffered output does not fail again at the exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def welcome(  # noqa: PLR0913 -- what the text names
    url: str,
    sources_url: str,
    process_url: str,
    settings: Path,
    folder: Path,
    registered: str,
    *,
    demo: bool,
    logs: str = "",
) -> str:
    """Return the text that is printed once everything runs.

    `sources_url` and `process_url` are the addresses of the system layer and the process layer for operators.
    `folder` holds all data; `registered` are the options with which `trelay clients` finds the database; `demo` is
    whether the examples run, with their client. `logs` names the files of the log, where it is not on the terminal.
    """
    trelay = command_typed()
    add = f"    {trelay} clients add billing --channels 'orders.**' {registered}"
    operated = f"{sources_url}/sources, {process_url}/pipelines"
    data = f"Data: {as_typed(folder)}.{f' Logs: {logs}.' if logs else ''}"
    lines = [
        f"Trelay is ready: {url.replace('http', 'ws', 1)}/ws/publish, {url}/readyz, {operated}",
        f"  Settings: {as_typed(settings)}. {data} Try, in another terminal:",
    ]
    failed = f"    {trelay} dead-letters counts --url {process_url}"
    if not demo:
        lines += [add, f"    {trelay} subscribe {url} --client-id billing", failed, "  Ctrl-C stops it."]
        return "\n".join(lines)
    examples = folder / "examples"
    stock = Path(str(EXAMPLES / "drop" / "stock-monday.csv"))
    lines += [
        f"    {trelay} subscribe {url} --client-id {DEMO} --client-secret {DEMO}",
        add,
        f"    curl -X POST -H 'client_id: {DEMO}' -H 'client_secret: {DEMO}' {url}/consumers",
        f"    curl -X POST -H 'Content-Type: application/json' -d '{{\"hello\": 1}}' '{url}/entity?channel=greetings'",
        f'    echo \'{{"sensor": "me", "celsius": 21}}\' >> {as_typed(examples / "sensors.ndjson")}',
        f"    cp {as_typed(stock)} {as_typed(examples / 'drop' / 'stock-again.csv')}",
        failed,
        "  Ctrl-C stops it. Events that a subscriber receives:",
    ]
    return "\n".join(lines)


def command_typed(program: str = sys.argv[0], python: str = sys.executable, search: str | None = None) -> str:
    """Return the command `trelay` as the user types it: as this program was started, if that was by the script.

    `search` is the search path for commands, by default the one of the environment.
    """
    script = Path(program) if Path(program).name == "trelay" else Path(python).with_name("trelay")
    if not script.exists():
        return f"{as_typed(Path(python))} -m services.cli"
    found = which("trelay", path=search)
    if found is not None and Path(found).samefile(script):
        return "trelay"
    return as_typed(script.absolute())


def as_typed(path: Path) -> str:
    """Return a path as the user types it into a shell in the current folder."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
