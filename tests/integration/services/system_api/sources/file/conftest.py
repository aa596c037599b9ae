"""Remote file systems: S3 (moto) and SFTP (OpenSSH)."""

from collections.abc import Iterator
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer
from sshfs import SSHFileSystem

from services.system_api.sources.file.remote import opening
from tests.servers.missing import skipping_without
from tests.servers.sftp import SftpServer, sftp_server
from tests.unit.services.system_api.sources.file.file_poller import FilePoller


class RemoteFolder:
    """A folder, as its writer and its source see it."""

    def __init__(self, fs: Any, folder: str, url: str, remote: dict[str, Any]) -> None:
        """`folder` is the path of the folder, `url` that of the source."""
        self.fs = fs
        self.url = url
        self.remote = remote
        self._folder = folder

    def write(self, name: str, content: str | bytes) -> None:
        self.fs.pipe_file(f"{self._folder}/{name}", content.encode() if isinstance(content, str) else content)

    def names(self) -> list[str]:
        self.fs.invalidate_cache()
        below = self._folder.strip("/") + "/"
        return sorted(path.strip("/").removeprefix(below) for path in self.fs.find(self._folder))

    def poller(self, pattern: str, drop: dict[str, Any] | None = None, **more: Any) -> FilePoller:
        drop = {"stable_seconds": 0} | (drop or {})
        return FilePoller(f"{self.url}/{pattern}", mode="drop", drop=drop, remote=self.remote, **more)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def sftp(request: pytest.FixtureRequest) -> Iterator[SftpServer]:
    with skipping_without("SFTP", request.config), sftp_server() as server:
        yield server


@pytest.fixture
def s3_folder(s3_server: str, unique_name: str) -> RemoteFolder:
    secrets = {"key": "writer", "secret": "not checked"}
    fs: Any = fsspec.filesystem("s3", endpoint_url=s3_server, **secrets)
    fs.mkdir(unique_name)
    remote = {"options": {"endpoint_url": s3_server}, "secrets": secrets}
    return RemoteFolder(fs, f"{unique_name}/in", f"s3://{unique_name}/in", remote)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files on SFTP are read at once."""
    monkeypatch.setattr(opening, "RESOLUTION_SFTP", 0.0)


@pytest.fixture
def sftp_folder(sftp: SftpServer, unique_name: str) -> RemoteFolder:
    fs: Any = SSHFileSystem("127.0.0.1", port=sftp.port, **sftp.options)
    path = f"{sftp.folder}/{unique_name}"
    fs.makedirs(path)
    url = f"sftp://127.0.0.1:{sftp.port}{path}"
    return RemoteFolder(fs, path, url, {"options": sftp.options})


@pytest.fixture(params=["s3", "sftp"])
def remote_folder(request: pytest.FixtureRequest) -> RemoteFolder:
    found: RemoteFolder = request.getfixturevalue(f"{request.param}_folder")
    return found
