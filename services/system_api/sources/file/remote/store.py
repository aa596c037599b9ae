"""A remote file system, through fsspec: lists, reads, deletes and moves files. Blocking, for a thread.

Every error of the file system becomes `Unavailable`, except that a file is not there.
"""

import errno
import io
import threading
from collections import deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, cast

from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.remote import sftp
from services.system_api.sources.file.remote.ledger import RemoteFile
from services.system_api.sources.file.remote_options import RemoteOptions, path_in, scheme_of
from shared.errors import SettingsError, TrelayError, Unavailable
from shared.runtime.extras import extra

_BUFFER = 1_048_576
"""Bytes of one request."""
_CONNECT = 10
_WITH_FOLDERS = ("sftp", "memory")
"""Elsewhere a folder is what the names of objects have in common."""


class RemoteListing(NamedTuple):
    """What a listing shows."""

    files: Sequence[RemoteFile]
    """Those that belong to the source, oldest first."""
    paths: Container[str]
    """All paths in the folders."""


class RemoteStore:
    """The files of one URL."""

    def __init__(self, url: str, options: RemoteOptions, skip: Callable[[str], bool] = lambda _path: False) -> None:
        """`url` may have wildcards; `skip` names files that do not belong to the source although they match.

        Raises:
            SettingsError: a package is not installed, or the options are refused.
            Unavailable: the server cannot be reached.
        """
        self.url = url
        self._scheme = scheme_of(url) or ""
        self._glob = Glob(path_in(url))
        self._skip = skip
        self._files: dict[int, Any] = {}
        """Open files by identity: if they were only collected, that would close them in any thread, and wait there."""
        self._unread: deque[Any] = deque()
        """Those of them that are to be closed."""
        self._options = options
        self._lock = threading.Lock()
        self._closed = False
        self._fs = self._opened(options)

    def _opened(self, options: RemoteOptions) -> Any:
        given: dict[str, Any] = {**options.options, **{k: v.get_secret_value() for k, v in options.secrets.items()}}
        with self._errors(), extra("files", f"path: {self._scheme}://"):
            import fsspec  # noqa: PLC0415 -- an optional package

            given["skip_instance_cache"] = True
            if self._scheme == "s3":
                limits = {"connect_timeout": _CONNECT, "read_timeout": options.timeout, "retries": {"max_attempts": 1}}
                given = {"config_kwargs": limits, "default_cache_type": "none", "use_listings_cache": False} | given
            if self._scheme == "sftp":
                return sftp.connect(self.url, given, timeout=options.timeout, connect_timeout=_CONNECT)
            try:
                return fsspec.filesystem(self._scheme, **given)
            except (TypeError, ValueError) as exc:
                raise SettingsError(f"remote: refused by the file system of {self._scheme}://: {exc}") from exc

    def close(self) -> None:
        """Close the files and the connection, even if the server does not answer. What is called later fails."""
        with self._lock:
            self._closed = True
            self.hang_up()
        self._unread.extend(self._files.values())
        self._close_unread()

    def _connected(self) -> Any:
        """Return the file system, connected again if the connection was lost, which sshfs does not do."""
        with self._lock, self._errors():
            if self._closed:
                raise Unavailable(f"{self.url}: closed")
            if self._scheme == "sftp" and sftp.is_closed(self._fs):
                self.hang_up()
                self._fs = self._opened(self._options)
            return self._fs

    def hang_up(self) -> None:
        """End a connection of SFTP: each request that waits for its server fails, and the next one connects again.

        It waits for no other request: one that is connecting goes on.
        """
        if self._scheme == "sftp":
            sftp.hang_up(self._fs)

    def _close_unread(self) -> None:
        while self._unread:
            file = self._unread.popleft()
            if self._files.pop(id(file), None) is not None:
                with suppress(Exception):  # nothing was written
                    file.close()

    def list_files(self) -> RemoteListing:
        """Return the files that are there.

        Raises:
            Unavailable: the folder or the bucket is not there, or the server does not answer.
        """
        folder = self._glob.folder
        with self._errors():
            try:
                found = self._found(folder)
            except FileNotFoundError:
                found = self._empty(folder)
            named = {_path_of(each): each for each in found if each["type"] in {"file", "link"}}
            mine = [info for path, info in named.items() if self._glob.matches(path) and not self._skip(path)]
            files = [self._file(info) for info in map(self._target, mine) if info is not None]
        files.sort(key=lambda each: (each.mtime, each.path))
        return RemoteListing(files, named.keys())

    def _found(self, folder: str) -> Sequence[Mapping[str, Any]]:
        """Return what is in a folder; for a pattern with folders, also what is below it."""
        if not self._glob.recursive:
            return cast("Sequence[Mapping[str, Any]]", self._connected().ls(folder, detail=True))
        if self._scheme not in _WITH_FOLDERS:
            return list(self._connected().find(folder, detail=True).values())
        # `find` leaves out each folder that cannot be listed, even the first one, as if nothing were there.
        found = list(self._connected().ls(folder, detail=True))
        for each in found:  # grows
            if each["type"] == "directory":
                with suppress(FileNotFoundError):  # deleted since
                    found += self._connected().ls(_path_of(each).rstrip("/"), detail=True)
        return found

    def _target(self, info: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return a file as it is where a link leads to: a listing shows the link itself. None if there is no file."""
        if info["type"] == "file":
            return info
        fs = self._connected()
        try:
            found: Mapping[str, Any] = fs.info(_path_of(info))
        except Exception:
            if sftp.is_closed(fs):
                raise
            return None  # it leads to nothing, or to itself
        return found if found["type"] == "file" else None

    def url_of(self, path: str) -> str:
        """Return the URL of a path."""
        host = self.url.partition("://")[2].partition("/")[0] + "/" if self._scheme == "sftp" else ""
        return f"{self._scheme}://{host}{path[1:]}"

    def _empty(self, folder: str) -> list[Mapping[str, Any]]:
        """Return no files for a prefix without objects; there are no folders in a bucket."""
        bucket = folder.split("/")[1]
        if self._scheme in _WITH_FOLDERS or not self._connected().exists(bucket):
            raise Unavailable(f"{self.url}: {folder if self._scheme in _WITH_FOLDERS else bucket} is not there")
        return []

    def exists(self, path: str) -> bool:
        """Whether there is a file."""
        with self._errors():
            return bool(self._connected().exists(path))

    def current(self, path: str) -> RemoteFile | None:
        """Return a file as it is now; None if it is not there."""
        with self._errors():
            try:
                found = self._connected().info(path)
            except FileNotFoundError:
                return None
        return self._file(found)

    def open(self, path: str) -> BinaryIO:
        """Open a file; its bytes are read when they are asked for.

        Raises:
            FileNotFoundError: it is not there.
        """
        self._close_unread()
        with self._errors(missing=True):
            file = self._connected().open(path, "rb")
        self._files[id(file)] = file
        return cast("BinaryIO", io.BufferedReader(_Guarded(file, self._unread.append), _BUFFER))

    def delete(self, path: str) -> None:
        """Delete a file, unless that is done."""
        with self._errors():
            try:
                self._connected().rm_file(path)
            except FileNotFoundError:
                return

    def move(self, path: str, target: str, version: str) -> None:
        """Move a file of this version to a path where there is none; one that replaces it meanwhile stays."""
        with self._errors():
            self._connected().makedirs(target.rpartition("/")[0], exist_ok=True)
            if self._scheme == "sftp":
                sftp.rename(self._connected(), path, target)
            else:
                self._connected().copy(path, target)
                current = self.current(path)  # the copy of a large object takes minutes
                if current is not None and current.version == version:
                    self._connected().rm_file(path)

    def _file(self, info: Mapping[str, Any]) -> RemoteFile:
        time = next((info[key] for key in ("LastModified", "mtime", "created") if info.get(key) is not None), None)
        mtime = int((time.timestamp() if isinstance(time, datetime) else float(time or 0)) * 1e9)
        size = int(info["size"] or 0)
        tag = str(info.get("ETag") or "").strip('"')
        return RemoteFile(_path_of(info), size, mtime, f"{tag}:{mtime}:{size}")

    @contextmanager
    def _errors(self, *, missing: bool = False) -> Iterator[None]:
        try:
            yield
        except TrelayError:
            raise
        except Exception as exc:
            if missing and isinstance(exc, FileNotFoundError):
                raise
            raise Unavailable(f"{self.url}: {type(exc).__name__}: {exc}") from exc


def _path_of(info: Mapping[str, Any]) -> str:
    return "/" + str(info["name"]).lstrip("/")


class _Guarded(io.RawIOBase):
    """Turns every error of a remote file into an `OSError` with a number, which no decoder takes for broken data.

    Its end asks for no answer of the server: it can be collected in the event loop.
    """

    def __init__(self, file: Any, closed: Callable[[Any], None]) -> None:
        self._file = file
        self._on_close = closed

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._run(lambda: self._file.seek(offset, whence) or self._file.tell()))

    def tell(self) -> int:
        return int(self._run(self._file.tell))

    def readinto(self, buffer: Any) -> int:
        data: bytes = self._run(lambda: self._file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._on_close(self._file)
        super().close()

    @staticmethod
    def _run(work: Callable[[], Any]) -> Any:
        try:
            return work()
        except Exception as exc:
            raise OSError(errno.EIO, f"{type(exc).__name__}: {exc}") from exc
