"""The wheels of both distributions, installed together in a venv of their own and started in an empty folder."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import sysconfig
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.standalone.embedded.process import dying_with_us
from shared.runtime.identity import release
from tests.e2e.test_standalone import READY, Standalone

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = (ROOT, ROOT / "clients" / "python")


@dataclass(frozen=True)
class Installation:
    """A venv with the wheels, and an empty folder to work in."""

    programs: Path
    folder: Path

    @property
    def trelay(self) -> str:
        """The command."""
        return str(self.programs / "trelay")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in the empty folder."""
        return subprocess.run(
            command, cwd=self.folder, env=environment(), capture_output=True, text=True, check=False, timeout=300
        )


def environment() -> dict[str, str]:
    """Nothing that leads Python or Trelay to the checkout."""
    return {"PATH": os.defpath, "HOME": os.environ.get("HOME", "/")}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("wheels")
    wheels, venv, work = folder / "wheels", folder / "venv", folder / "work"
    work.mkdir()
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    for distribution in DISTRIBUTIONS:
        command = [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", str(wheels), str(distribution)]
        subprocess.run(command, check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    command = [*pip, "--python", str(venv / "bin" / "python"), "install", *offline, *map(str, wheels.iterdir())]
    subprocess.run(command, check=True)
    # The other packages are those of the tests' venv. Its own links to the checkout are .pth files, which Python does
    # not read there.
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return Installation(venv / "bin", work)


def test_every_package_comes_from_the_wheels(installed: Installation) -> None:
    program = (
        "import services, shared, trelay_client, importlib.metadata as m, json\n"
        "names = [m.distribution(name).locate_file('') for name in ('trelay', 'trelay-client')]\n"
        "print(json.dumps([*(p.__file__ for p in (services, shared, trelay_client)), *map(str, names)]))"
    )
    done = installed.run(str(installed.programs / "python"), "-c", program)
    places = json.loads(done.stdout)
    assert len(places) == 5
    for place in places:
        assert Path(place).is_relative_to(installed.programs.parent), place


def test_what_a_wheel_holds_beside_code(installed: Installation) -> None:
    (site,) = installed.programs.parent.glob("lib/python*/site-packages")
    for package in ("services", "shared", "trelay_client"):
        assert (site / package / "py.typed").exists(), package
    licences = list(site.glob("trelay*.dist-info/licenses/LICENSE"))
    assert len(licences) == len(DISTRIBUTIONS)
    assert {licence.read_text() for licence in licences} == {(ROOT / "LICENSE").read_text()}
    assert not {"tests", "benchmarks", "docs"} & {path.name for path in site.iterdir()}


def test_version_schema_and_check(installed: Installation) -> None:
    assert installed.run(installed.trelay, "--version").stdout == f"trelay {release()}\n"
    schema = json.loads(installed.run(installed.trelay, "schema").stdout)
    assert {"system", "process", "experience"} <= schema["properties"].keys()
    settings = installed.folder / "mine.yaml"
    settings.write_text("system:\n  sources:\n    a: {kind: file, path: a.ndjson, type: t, subjct: id}\n")
    done = installed.run(installed.trelay, "check", "mine.yaml")
    assert done.returncode == 2
    assert "did you mean 'subject'?" in done.stderr
    settings.write_text("system:\n  sources:\n    a: {kind: file, path: a.ndjson, type: t, subject: id, channel: a}\n")
    assert installed.run(installed.trelay, "check", "mine.yaml").returncode == 0


@pytest.mark.timeout(900)
async def test_it_runs_in_an_empty_folder_and_names_the_next_steps(installed: Installation) -> None:
    folder = installed.folder / "empty"
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        *dying_with_us([installed.trelay, "run", "--port", "0"], signal.SIGTERM),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment(),
        cwd=folder,
    )
    program = Standalone(process)
    try:
        address = (await program.line(READY.pattern))[1]
        typed = (await program.line(r"^ +(\S+trelay) clients add")).group(1)
        assert Path(typed) == Path(installed.trelay)
        for channel in ("sensors", "stock", r"orders\.\w+"):
            await program.line(rf"^{channel} ")
        # Events of every source have arrived, so every part is connected by now.
        status, answer = await asyncio.to_thread(ask, f"http://{address}/readyz")
        assert (status, answer["ready"], answer["missing"]) == (200, True, {})
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
    assert [path.name for path in folder.iterdir()] == ["var"]


def ask(url: str) -> tuple[int, dict[str, object]]:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return answer.status, json.load(answer)
