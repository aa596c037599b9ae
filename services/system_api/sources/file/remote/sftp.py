"""Connections to SFTP servers, through sshfs and asyncssh: opens, renames, hangs up. Blocking, for a thread."""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

_CLOSE = 5
"""Seconds that the end of a connection may take."""
_IO_THREAD = "fsspecIO"
"""The thread in which fsspec runs all its connections."""

# Trelay reports each outage itself, once; asyncssh has ten lines for each connection.
logging.getLogger("asyncssh").setLevel(logging.WARNING)


class _OneLineAnOutage(logging.Filter):
    """Drops what asyncio logs of a connection that breaks while asyncssh reads: the read reports the same error.

    asyncssh reads a file by many requests at once, and takes the error of the first one only.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        from asyncssh import Error  # noqa: PLC0415 -- an optional package

        if record.exc_info and isinstance(record.exc_info[1], Error):
            return False
        return not (record.threadName == _IO_THREAD and record.msg == "socket.send() raised exception.")


_FILTER = _OneLineAnOutage()


def connect(url: str, options: Mapping[str, Any], *, timeout: float, connect_timeout: float) -> Any:
    """Connect to the host of a URL; return its file system. `timeout` is the seconds of one request.

    Raises:
        ImportError: sshfs is not installed.
        Exception: the server cannot be reached, or the options are refused.
    """
    from sshfs import SSHFileSystem  # noqa: PLC0415 -- an optional package

    logging.getLogger("asyncio").addFilter(_FILTER)  # once, however often it is added
    host, _, port = url.partition("://")[2].partition("/")[0].partition(":")
    # Without known_hosts, sshfs accepts any host; () stands for the files of the user.
    defaults = {"known_hosts": (), "connect_timeout": connect_timeout, "keepalive_interval": 15}
    place = {"port": int(port)} if port else {}
    return SSHFileSystem(host, timeout=timeout, **{**defaults, **options, **place})


def is_closed(fs: Any) -> bool:
    """Whether a connection was lost or hung up; sshfs does not connect again."""
    return bool(fs.client.is_closed())


def hang_up(fs: Any) -> None:
    """End a connection, even if the server does not answer: each request that waits for it fails."""
    from fsspec.asyn import sync  # noqa: PLC0415

    with suppress(Exception):  # it is gone already
        sync(fs.loop, _disconnect, fs, timeout=_CLOSE)


async def _disconnect(fs: Any) -> None:
    fs.client.abort()
    await fs._pool.close()  # noqa: SLF001 -- sshfs has no other way
    await fs._stack.aclose()  # noqa: SLF001


def rename(fs: Any, path: str, target: str) -> None:
    """Rename a file; the `mv` of sshfs deletes it even where it could not copy it."""
    from fsspec.asyn import sync  # noqa: PLC0415

    sync(fs.loop, _rename, fs, path, target)


async def _rename(fs: Any, path: str, target: str) -> None:
    async with fs._pool.get() as channel:  # noqa: SLF001 -- sshfs has no other way
        await channel.rename(path, target)
