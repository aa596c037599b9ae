"""Whole files on S3 and SFTP; tests/unit/services/system_api/sources/file/remote tests what both have in common."""

import asyncio
import contextlib
import gzip
import io
import logging
import os
import threading
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest

from services.system_api.settings import SystemSettings
from services.system_api.sources.file.options import FileSourceOptions
from shared.errors import Unavailable
from shared.settings import parse
from tests.integration.services.system_api.sources.file.conftest import RemoteFolder
from tests.servers.sftp import SftpServer, sftp_server
from tests.unit.services.system_api.sources.file.file_poller import FilePoller, lines, until

pytestmark = pytest.mark.usefixtures("impatient")

ROOT = Path(__file__).parents[6]


def csv(*numbers: int) -> str:
    return "id,text\n" + "".join(f"{number},{'x' * 100}\n" for number in numbers)


def ids(rows: list[Any]) -> list[int]:
    return [int(row["id"]) for row in rows]


async def test_files_are_read_once_through_a_crash_and_archived(remote_folder: RemoteFolder) -> None:
    remote_folder.write("a.csv", csv(*range(30_000)))
    poller = remote_folder.poller("*.csv", drop={"after": "archive"})
    async with poller.opened():
        while len(poller.data) < 20_000:
            await poller.poll(5000)
        await poller.source.poll(5000)  # lost
    async with poller.opened():
        await poller.drain(5000)
        assert ids(poller.data) == list(range(30_000))
        remote_folder.write("b.csv", csv(7))
        assert ids(await poller.drain()) == [7]
        await until(lambda: remote_folder.names() == ["archive/a.csv", "archive/b.csv"])
    assert await poller.drain_reopened() == []
    assert (poller.problems, poller.rejects, poller.losses) == ([], [], [])


async def test_the_example_of_the_documentation(s3_server: str) -> None:
    page = (ROOT / "docs/sources/files.md").read_text()
    example = page.partition("## Remote files")[2].partition("```yaml\n")[2].partition("```")[0]
    text = example.replace("https://s3.example.com", s3_server)
    settings = parse(text, SystemSettings, {"BUCKET_KEY": "k", "BUCKET_SECRET": "s"})
    fs: Any = fsspec.filesystem("s3", endpoint_url=s3_server, key="k", secret="s")
    fs.mkdir("invoices")
    fs.pipe_file("invoices/in/1.csv", b"number,total\n7,12.50\n")
    poller = FilePoller("unused.csv")
    options = settings.system.sources["invoices"]
    assert isinstance(options, FileSourceOptions)
    poller.options = options
    async with poller.opened():
        assert await poller.drain() == [{"number": "7", "total": "12.50"}]
        await until(lambda: fs.find("invoices", refresh=True) == ["invoices/done/1.csv"])


async def test_compressed_files_and_files_that_are_read_from_several_places(remote_folder: RemoteFolder) -> None:
    remote_folder.write("a.ndjson.gz", gzip.compress(b'{"id":"1"}\n{"id":"2"}\n'))
    assert await remote_folder.poller("*.ndjson.gz").drain_reopened() == lines(1, 2)
    parquet = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"id": ["3", "4"]}), parquet)
    remote_folder.write("a.parquet", parquet.getvalue())
    assert await remote_folder.poller("*.parquet").drain_reopened() == lines(3, 4)


async def test_a_file_that_is_replaced_while_it_is_read_is_read_as_a_new_one(remote_folder: RemoteFolder) -> None:
    remote_folder.write("a.csv", csv(*range(50_000)))
    async with remote_folder.poller("*.csv").opened() as poller:
        await poller.poll(1000)
        remote_folder.write("a.csv", csv(*range(60_000, 60_100)))
        await poller.drain()
        assert ids(poller.data) == [*range(1000), *range(60_000, 60_100)]


async def test_an_empty_folder_is_no_error_and_a_missing_bucket_is(s3_folder: RemoteFolder) -> None:
    assert await s3_folder.poller("*.csv").drain_reopened() == []
    s3_folder.url = "s3://no-such-bucket/in"
    with pytest.raises(Unavailable, match="no-such-bucket is not there"):
        await s3_folder.poller("*.csv").drain_reopened()


async def test_a_server_that_is_away_and_returns(sftp: SftpServer, sftp_folder: RemoteFolder) -> None:
    sftp_folder.write("a.csv", csv(*range(100)))
    poller = sftp_folder.poller("*.csv")
    async with poller.opened():
        await poller.poll(50)
    sftp.kill()
    try:
        with pytest.raises(Unavailable, match=r"sftp://127\.0\.0\.1"):
            await poller.drain_reopened()
    finally:
        sftp.start()
    await poller.drain_reopened()
    assert ids(poller.data) == list(range(100))


async def test_a_frozen_server_delays_no_other_source_and_is_read_on(
    sftp_folder: RemoteFolder, caplog: pytest.LogCaptureFixture
) -> None:
    """Its connections stay open and nothing answers, in the middle of a file."""
    async with contextlib.AsyncExitStack() as stack:
        server = stack.enter_context(sftp_server())
        (server.folder / "in").mkdir()
        (server.folder / "in/a.csv").write_text(csv(*range(100_000)))
        remote = {"options": server.options, "timeout": 60}
        url = f"sftp://127.0.0.1:{server.port}{server.folder}/in/*.csv"
        hanging = FilePoller(url, mode="drop", drop={"stable_seconds": 0}, remote=remote)
        healthy = sftp_folder.poller("*.csv")
        await stack.enter_async_context(hanging.opened())
        await stack.enter_async_context(healthy.opened())
        await hanging.poll(1000)
        with server.frozen():
            requests: Any = hanging.source.__dict__["_thread"]
            requests._timeout = 1.0
            with pytest.raises(Unavailable, match="no answer within 1 s"):
                await hanging.drain(50_000)
            again = asyncio.create_task(hanging.poll(1000))
            for number in range(3):
                sftp_folder.write(f"{number}.csv", csv(number))
                await healthy.drain()
            with pytest.raises(Unavailable):
                await again
            assert ids(healthy.data) == [0, 1, 2]
            requests._timeout = 60
        await hanging.drain(5000)
        assert ids(hanging.data) == list(range(100_000))
        # The threads that hung have ended: those of the two sources are left, and of their finishers.
        await until(lambda: sum(each.name.startswith("source files") for each in threading.enumerate()) == 4)
    logged = [each for each in caplog.records if each.name.startswith("asyncssh") and each.levelno > logging.INFO]
    logged += [each for each in caplog.records if each.name == "asyncio" and each.exc_info]
    assert logged == []


async def test_a_link_on_a_server_is_read_where_it_leads_to(sftp: SftpServer, unique_name: str) -> None:
    """A listing shows the size and the time of the link itself."""
    folder = sftp.folder / unique_name
    (folder / "in/below").mkdir(parents=True)
    (folder / "in/to-nothing.csv").symlink_to("none")
    (folder / "in/to-itself.csv").symlink_to("to-itself.csv")
    (folder / "in/to-a-folder.csv").symlink_to("below")
    (folder / "in/latest.csv").symlink_to(folder / "first")
    (folder / "first").write_text(csv(1))
    (folder / "second").write_text(csv(2, 4))  # SFTP tells the size, and the time in whole seconds
    (folder / "in/below/b.csv").write_text(csv(3))
    url = f"sftp://127.0.0.1:{sftp.port}{folder}/in/**/*.csv"
    poller = FilePoller(url, mode="drop", drop={"stable_seconds": 0}, remote={"options": sftp.options})
    async with poller.opened():
        assert sorted(ids(await poller.drain())) == [1, 3]
        (folder / "in/latest.csv").unlink()
        (folder / "in/latest.csv").symlink_to(folder / "second")
        assert ids(await poller.drain()) == [2, 4]
        assert poller.problems == poller.waiting == []


async def test_an_unknown_host_is_refused(sftp: SftpServer, sftp_folder: RemoteFolder) -> None:
    sftp_folder.remote = {"options": sftp.options | {"known_hosts": os.devnull}}
    with pytest.raises(Unavailable, match="Host key is not trusted"):
        await sftp_folder.poller("*.csv").drain_reopened()
