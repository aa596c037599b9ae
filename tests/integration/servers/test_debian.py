import os
from pathlib import Path

import pytest

from services.standalone.embedded.process import ServerMissing
from tests.servers.debian import install, need_command

# Stands for apt-get: notes its arguments, and "installs" a command of the package's name into its own folder.
APT_GET = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
  update) exit 0 ;;
  install) case "$*" in *unknown*) echo 'E: Unable to locate package' >&2; exit 100 ;; esac
    for package in "$@"; do :; done
    echo '#!/bin/sh' > "{folder}/$package"; /bin/chmod 755 "{folder}/$package" ;;
esac
"""


@pytest.fixture
def debian(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine on which we are root and nothing is installed but apt-get; returns its log."""
    apt_get = tmp_path / "apt-get"
    apt_get.write_text(APT_GET.format(log=tmp_path / "apt.log", folder=tmp_path))
    apt_get.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CI", raising=False)  # where what failed is tried again
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path / "apt.log"


def test_a_missing_command_is_installed_once(debian: Path) -> None:
    assert need_command("brewer", "brewer") == str(debian.parent / "brewer")
    assert need_command("brewer", "brewer") == str(debian.parent / "brewer")
    assert debian.read_text().splitlines() == [
        "update -qq",
        "install -o DPkg::Lock::Timeout=300 -y -qq --no-install-recommends brewer",
    ]


def test_a_failed_installation_shows_the_output_of_apt(debian: Path) -> None:
    with pytest.raises(ServerMissing, match="Unable to locate package"):
        install("unknown")


def test_a_package_without_the_command_is_reported(debian: Path) -> None:
    with pytest.raises(ServerMissing, match="has no command 'brew'"):
        need_command("brew", "brewer")


def test_without_root_the_error_names_the_package_to_install(debian: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ServerMissing, match="as root: apt-get install brewer"):
        need_command("brewer", "brewer")
    assert not debian.exists()
