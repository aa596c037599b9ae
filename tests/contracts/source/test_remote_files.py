"""Whole files on S3 (moto) and SFTP (OpenSSH), which the source reaches through a proxy."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from services.system_api.sources.file.opening import FileSourceKind
from services.system_api.sources.file.remote import opening
from tests.contracts.source.suite import SourceContract
from tests.contracts.source.upstream import COMMON, line
from tests.servers.missing import skipping_without
from tests.servers.proxy import Proxy
from tests.servers.sftp import SftpServer, sftp_server

KEYS = {"key": "writer", "secret": "not checked"}


class RemoteDrops:
    """Each write makes a file, which is there at once when it is complete."""

    exactly_once = True

    def __init__(self, proxy: Proxy, fs: Any, folder: str, **settings: Any) -> None:
        self.outage = proxy.outage
        self.slow = proxy.slow
        self._fs = fs
        self._folder = folder
        self._settings = settings
        self._files = 0

    def options(self) -> FileSourceKind:
        drop = {"ready": "renamed", "after": "archive"}
        return FileSourceKind.model_validate(
            {**COMMON, "kind": "file", "subject": "k", "mode": "drop", "drop": drop, **self._settings}
        )

    async def write(self, numbers: Sequence[int]) -> None:
        await self._drop(b"".join(line(number) + b"\n" for number in numbers))

    async def write_poison(self) -> None:
        await self._drop(b"[]\n")

    async def _drop(self, content: bytes) -> None:
        self._files += 1
        part, complete = f"{self._folder}/part", f"{self._folder}/{self._files:06}.ndjson"
        await asyncio.to_thread(self._fs.pipe_file, part, content)
        await asyncio.to_thread(self._fs.mv, part, complete)


@pytest.fixture(scope="module")
def s3() -> Iterator[tuple[str, int]]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture(scope="module")
def sftp(request: pytest.FixtureRequest) -> Iterator[SftpServer]:
    with skipping_without("SFTP", request.config), sftp_server() as server:
        yield server


@pytest.mark.chaos  # each request takes moto long: 40 s in all
class TestS3(SourceContract):
    @pytest.fixture
    async def upstream(self, s3: tuple[str, int], unique_name: str) -> AsyncIterator[RemoteDrops]:
        host, port = s3
        fs: Any = fsspec.filesystem("s3", endpoint_url=f"http://{host}:{port}", **KEYS)
        await asyncio.to_thread(fs.mkdir, unique_name)
        async with Proxy.before(host, port) as proxy:
            remote = {"options": {"endpoint_url": f"http://127.0.0.1:{proxy.port}"}, "secrets": KEYS, "timeout": 5}
            yield RemoteDrops(proxy, fs, f"{unique_name}/in", path=f"s3://{unique_name}/in/*.ndjson", remote=remote)


class TestSftp(SourceContract):
    interruptions = 6
    """Each connects again."""

    @pytest.fixture
    async def upstream(
        self, sftp: SftpServer, unique_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[RemoteDrops]:
        # After each of hundreds of restarts, a file that is not read yet would have to be unchanged for so long.
        monkeypatch.setattr(opening, "RESOLUTION_SFTP", 0.0)
        folder = f"{sftp.folder}/{unique_name}"
        fs: Any = fsspec.filesystem("file")
        await asyncio.to_thread(fs.makedirs, folder)
        async with Proxy.before("127.0.0.1", sftp.port) as proxy:
            key = (sftp.folder / "host.pub").read_text()
            (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{proxy.port} {key}")
            remote = {"options": sftp.options | {"known_hosts": str(tmp_path / "known_hosts")}, "timeout": 5}
            url = f"sftp://127.0.0.1:{proxy.port}{folder}/*.ndjson"
            yield RemoteDrops(proxy, fs, folder, path=url, remote=remote)
