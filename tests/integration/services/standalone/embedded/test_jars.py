import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.standalone.embedded.jars import cache_folder, resolved_jars
from services.standalone.embedded.process import ServerMissing

# Stands for Maven: notes that it ran, and delivers one jar, or says why not.
MAVEN = """#!/bin/sh
echo ran >> {runs}
test -e {broken} && echo '[ERROR] no such artifact' && echo '[ERROR] use -X for more' && exit 1
touch kafka.jar
"""


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a Maven that needs no network; `runs` counts its calls, `broken` makes it fail."""
    command = tmp_path / "mvn"
    command.write_text(MAVEN.format(runs=tmp_path / "runs", broken=tmp_path / "broken"))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "pom.xml").write_text("<project/>")
    return tmp_path


def test_resolves_once_for_each_content(maven: Path) -> None:
    first = resolved_jars(maven / "pom.xml", maven / "cache")
    assert (first / "kafka.jar").exists()
    assert resolved_jars(maven / "pom.xml", maven / "cache") == first
    (maven / "pom.xml").write_text("<project>changed</project>")
    assert resolved_jars(maven / "pom.xml", maven / "cache") != first
    assert (maven / "runs").read_text().count("ran") == 2


def test_a_failure_shows_mavens_output_and_leaves_no_incomplete_folder(maven: Path) -> None:
    (maven / "broken").touch()
    with pytest.raises(ServerMissing, match=r"jars: no such artifact$"):
        resolved_jars(maven / "pom.xml", maven / "cache")
    (maven / "broken").unlink()
    assert (resolved_jars(maven / "pom.xml", maven / "cache") / "kafka.jar").exists()


def test_without_maven_the_error_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "pom.xml").write_text("<project/>")
    with pytest.raises(ServerMissing, match="apt-get install maven"):
        resolved_jars(tmp_path / "pom.xml", tmp_path / "cache")


def test_two_processes_take_turns(maven: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from services.standalone.embedded import jars\n"
        "print(jars.resolved_jars(Path(sys.argv[1]), Path(sys.argv[2])))\n"
    )
    command = [sys.executable, "-c", program, str(maven / "pom.xml"), str(maven / "cache")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = {process.communicate()[0] for process in processes}
    assert len(answers) == 1
    assert [process.returncode for process in processes] == [0, 0]
    assert (maven / "runs").read_text().count("ran") == 1


def test_the_cache_is_in_the_folder_of_the_xdg_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "trelay"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/trelay")
