"""The store on disk: one RocksDB of this process, shared by its partitions, with bounded memory.

A write is atomic and survives a crash of the process; after a crash of the machine the database is as it was some
writes before. Both leave a store that lacks what was committed last, and the changelog has that.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self

import msgspec
from rocksdict import BlockBasedOptions, Cache, Options, Rdict, ReadOptions, WriteBatch

from services.process_api.state.store import INSTANCE_BYTES, Changes, Mark, Size
from shared.errors import SettingsError

_WRITE_BUFFER = 16 * 1024 * 1024
_WRITE_BUFFERS = 3
_BLOCK_CACHE = 64 * 1024 * 1024
_BLOOM_BITS = 10
_MARK, _STATE, _SIZES = b"m", b"s", b"z"
_LONGEST = b"\xff" * 8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Mark).decode
_decode_sizes = msgspec.msgpack.Decoder(dict[bytes, Size]).decode


class RocksStores:
    """The stores of all partitions of one process."""

    def __init__(self, database: Rdict) -> None:
        self._database = database

    @classmethod
    @asynccontextmanager
    async def opened(cls, directory: Path) -> AsyncIterator[Self]:
        """Open the database for as long as the context lasts; create it where it is missing.

        Raises:
            SettingsError: the directory cannot be used, or another process uses it.
        """
        try:
            database = await asyncio.to_thread(_open, directory)
        except Exception as exc:  # rocksdict raises plain exceptions
            raise SettingsError(
                f"process.state.directory: {directory} cannot be used: {exc}; expected a directory of this replica"
                " alone that it may write to"
            ) from exc
        try:
            yield cls(database)
        finally:
            await asyncio.to_thread(database.close)

    def store(self, partition: int) -> "RocksStore":
        """Return the store of a partition, with what an earlier run has left in it."""
        return RocksStore(self._database, partition)

    def release(self, partition: int) -> None:
        """Keep the state: the partition may come back."""


class RocksStore:
    """A `Store`."""

    threaded: ClassVar = True

    def __init__(self, database: Rdict, partition: int) -> None:
        self._database = database
        number = struct.pack(">H", partition)
        self._mark_key, self._prefix, self._sizes_key = _MARK + number, _STATE + number, _SIZES + number
        found, sizes = database.get(self._mark_key), database.get(self._sizes_key)
        # A release that counted nothing leaves no sizes: then the state is restored from its changelog.
        self.mark: Mark | None = None if found is None or sizes is None else _decode(found)
        self.sizes: dict[bytes, Size] = {} if sizes is None else _decode_sizes(sizes)

    def get(self, key: bytes) -> bytes | None:
        found: bytes | None = self._database.get(self._prefix + key)
        return found

    def scan(self, start: bytes, stop: bytes) -> Iterator[tuple[bytes, bytes]]:
        prefix, skip = self._prefix, len(self._prefix)
        options = ReadOptions()
        options.set_iterate_upper_bound(prefix + stop)
        iterator = self._database.iter(options)
        iterator.seek(prefix + start)
        while iterator.valid():
            yield iterator.key()[skip:], iterator.value()
            iterator.next()

    def apply(self, changes: Changes, mark: Mark | None = None) -> None:
        batch, prefix, sizes = WriteBatch(raw_mode=True), self._prefix, dict(self.sizes)
        for key, value in changes.items():
            instance = key[:INSTANCE_BYTES]
            sizes[instance] = sizes.get(instance, Size()).changed(key, self.get(key), value)
            if value is None:
                batch.delete(prefix + key)
            else:
                batch.put(prefix + key, value)
        if mark is not None:
            batch.put(self._mark_key, _encode(mark))
        batch.put(self._sizes_key, _encode(sizes))
        self._database.write(batch)
        self.mark, self.sizes = mark or self.mark, sizes

    def clear(self) -> None:
        # The mark first: a crash in between leaves a store that is cleared again.
        self._database.delete(self._mark_key)
        self._database.delete_range(self._prefix, self._prefix + _LONGEST)
        self._database.delete(self._sizes_key)
        self.mark, self.sizes = None, {}


def _open(directory: Path) -> Rdict:
    directory.mkdir(parents=True, exist_ok=True)
    return Rdict(str(directory), _options())


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)  # noqa: FBT003 -- positional only
    options.set_write_buffer_size(_WRITE_BUFFER)
    options.set_max_write_buffer_number(_WRITE_BUFFERS)
    options.set_max_open_files(256)
    options.set_keep_log_file_num(2)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(_BLOCK_CACHE))
    blocks.set_bloom_filter(_BLOOM_BITS, False)  # noqa: FBT003 -- the same
    options.set_block_based_table_factory(blocks)
    return options
