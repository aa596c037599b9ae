"""Files that grow: every line exactly once, through all that happens to files."""

import asyncio
import contextlib
import os
import random
import shutil
from pathlib import Path

import pytest

from services.system_api.sources.file.filesystem import FileError, open_verified
from services.system_api.sources.file.reading import open_file as reading_module
from shared.errors import SettingsError, Unavailable
from tests.unit.services.system_api.sources.file.file_poller import Poller, StillClock, lines, write


async def test_it_reads_what_is_there_and_what_is_added(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, 1, 2)
    async with Poller(path).opened() as poller:
        assert await poller.drain() == lines(1, 2)
        assert await poller.drain() == []
        write(path, 3)
        assert await poller.drain() == lines(3)
    assert [identity.rpartition(":")[2] for identity in poller.ids] == ["0", "11", "22"]


async def test_it_goes_on_at_the_byte_after_the_last_line(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", Poller(tmp_path / "a.ndjson")
    for number in range(1, 6):
        write(path, number)
        assert await poller.drain_anew() == lines(number)
    (part,) = poller.files.values()
    assert (part["offset"], part["line"], part["rows"]) == (55, 5, 5)
    assert await poller.drain_anew() == []


async def test_an_incomplete_line_waits_for_its_end(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", Poller(tmp_path / "a.ndjson")
    async with poller.opened():
        path.write_text('{"id":"1"}\n{"id"')
        assert await poller.drain() == lines(1)
        with path.open("a") as file:
            file.write(':"2"')
        assert await poller.drain() == []
    async with poller.opened():
        assert await poller.drain() == []
        with path.open("a") as file:
            file.write("}\n")
        assert await poller.drain() == lines(2)
    assert poller.rejects == []


async def test_a_batch_is_bounded_and_says_that_more_waits(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, *range(25))
    async with Poller(path).opened() as poller:
        sizes = [len((await poller.poll(10)).records) for _ in range(3)]
        assert sizes == [10, 10, 5]
        assert (await poller.poll(10)).more is False
    assert poller.data == lines(*range(25))


async def test_a_poll_that_was_not_committed_is_repeated_with_the_same_ids(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", Poller(tmp_path / "a.ndjson")
    write(path, *range(20))
    async with poller.opened():
        await poller.poll(5)
        lost = await poller.source.poll(10)
    write(path, 20)
    assert await poller.drain_anew() == lines(*range(5, 21))
    again = [record.value for record in lost.records]
    assert len(again) == 10
    assert poller.ids[5:15] == [(value or b"").partition(b'"id":"')[2].partition(b'"')[0].decode() for value in again]


@pytest.mark.parametrize("anew", [True, False])
async def test_a_file_that_is_renamed_within_the_glob_is_the_same(tmp_path: Path, anew: bool) -> None:
    poller = Poller(tmp_path / "*.ndjson")
    write(tmp_path / "a.ndjson", 1)
    async with poller.opened():
        assert await poller.drain() == lines(1)
        if not anew:
            (tmp_path / "a.ndjson").rename(tmp_path / "b.ndjson")
            write(tmp_path / "b.ndjson", 2)
            assert await poller.drain() == lines(2)
    if anew:
        (tmp_path / "a.ndjson").rename(tmp_path / "b.ndjson")
        write(tmp_path / "b.ndjson", 2)
        assert await poller.drain_anew() == lines(2)
    assert len(poller.files) == 1


@pytest.mark.parametrize("anew", [True, False])
async def test_a_file_that_is_rotated_out_of_the_glob_is_read_to_its_end_first(tmp_path: Path, anew: bool) -> None:
    path, rotated = tmp_path / "a.ndjson", tmp_path / "a.ndjson.1"
    poller = Poller(path)
    write(path, 1)
    async with poller.opened():
        await poller.drain()
        if anew:
            await poller.drain()
    async with poller.opened():
        if not anew:
            await poller.drain()
        write(path, 2)
        path.rename(rotated)
        write(rotated, 3)
        write(path, 4)
        os.utime(path, (1, 1))
        assert await poller.drain() == lines(2, 3, 4)
        write(rotated, 5)
        assert await poller.drain() == lines(5)


async def test_a_file_that_is_deleted_is_read_to_its_end(tmp_path: Path) -> None:
    path, clock = tmp_path / "a.ndjson", StillClock()
    write(path, 1)
    async with Poller(tmp_path / "*.ndjson", clock, interval=1).opened() as poller:
        await poller.drain()
        write(path, 2, 3, end="")
        path.unlink()
        assert await poller.drain() == lines(2)
        clock.at += 4
        assert await poller.drain() == []
        clock.at += 2
        assert await poller.drain() == lines(3)
        assert await poller.drain() == []


async def test_a_deleted_file_that_was_nothing_but_a_bad_header_is_no_failure(tmp_path: Path) -> None:
    clock = StillClock()
    (tmp_path / "a.csv").write_text("key,name")
    async with Poller(tmp_path / "*.csv", clock, interval=1).opened() as poller:
        await poller.drain()
        (tmp_path / "a.csv").unlink()
        await poller.drain()
        clock.at += 6
        assert await poller.drain() == []


@pytest.mark.parametrize("size", [3, 5])
async def test_a_file_that_is_truncated_is_read_anew(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.ndjson"
    write(path, 11, 12, 13, 14)
    async with Poller(path).opened() as poller:
        await poller.drain()
        write(path, *range(21, 21 + size), mode="w")
        assert await poller.drain() == lines(*range(21, 21 + size))
        write(path, 31)
        assert await poller.drain() == lines(31)
    assert len(set(poller.ids)) == len(poller.ids)
    assert len(poller.files) == 1


async def test_a_file_that_is_rewritten_at_its_size_is_read_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    write(path, 1)
    async with Poller(path).opened() as poller:
        assert await poller.drain() == lines(1)
        write(path, 2, mode="w")
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))  # the clock of a file system has steps
        assert await poller.drain() == lines(2)
        assert await poller.drain() == []


@pytest.mark.parametrize("anew", [True, False])
async def test_an_incomplete_line_that_is_taken_back_repeats_nothing(tmp_path: Path, anew: bool) -> None:
    path, poller = tmp_path / "a.ndjson", Poller(tmp_path / "a.ndjson")
    write(path, 1, 2)
    size = path.stat().st_size
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(poller.opened())
        write(path, 3, end="")
        assert await poller.drain() == lines(1, 2)
        if anew:
            await stack.aclose()
            await stack.enter_async_context(poller.opened())
        os.truncate(path, size)
        assert await poller.drain() == []
        write(path, 4)
        assert await poller.drain() == lines(4)


async def test_an_incomplete_line_of_a_file_that_was_moved_away_waits_for_its_end(tmp_path: Path) -> None:
    path, finalizer, clock = tmp_path / "a.ndjson", tmp_path / "elsewhere", StillClock()
    finalizer.mkdir()
    path.write_text('{"id":"1"}\n{"id"')
    async with Poller(tmp_path / "*.ndjson", clock).opened() as poller:
        await poller.drain()
        path.rename(finalizer / "a.ndjson")
        for _ in range(3):
            clock.at += 6
            await poller.drain()
        with (finalizer / "a.ndjson").open("a") as file:
            file.write(':"2"}\n')
        clock.at += 6
        await poller.drain()
    assert poller.data == lines(1, 2)
    assert poller.rejects == []


async def test_a_copy_beside_its_original_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, copy = tmp_path / "a.ndjson", tmp_path / "a.1.ndjson"
    write(path, *range(100))
    async with Poller(tmp_path / "*.ndjson").opened() as poller:
        await poller.drain()
        write(tmp_path / "b.ndjson", *range(100, 200))
        await poller.drain()
        assert not caplog.records
        shutil.copy(path, copy)
        await poller.drain()
        assert f"{copy} begins as {path} does" in caplog.text


async def test_a_file_that_has_gone_before_its_turn_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clock = StillClock()
    for name in "abcd":
        write(tmp_path / f"{name}.ndjson", *range(10))
        os.utime(tmp_path / f"{name}.ndjson", (ord(name), ord(name)))
    async with Poller(tmp_path / "*.ndjson", clock).opened() as poller:
        await poller.poll(5)
        (tmp_path / "a.ndjson").unlink()
        (tmp_path / "b.ndjson").unlink()
        (tmp_path / "c.ndjson").rename(tmp_path / "e.ndjson")
        clock.at += 1
        await poller.drain()
    assert len(poller.data) == 30
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        f"source files: {tmp_path / 'b.ndjson'} has gone before all of it was read"
    ]


async def test_a_name_that_is_no_text_stops_no_other_file(tmp_path: Path) -> None:
    strange = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.ndjson"))
    write(tmp_path / "a.ndjson", 1)
    write(strange, 2)
    async with Poller(tmp_path / "*.ndjson").opened() as poller:
        assert await poller.drain() == lines(1)
        assert len(poller.problem) == 1
        assert "\\xff.ndjson' is not read, for its name is no UTF-8 text" in poller.problem[0]
        (tmp_path / "a.ndjson").rename(tmp_path / "b.ndjson")
        strange.rename(tmp_path / "a.ndjson")
        assert await poller.drain() == lines(2)
        assert not poller.problem


async def test_files_of_which_nothing_can_be_made_are_not_opened_again(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.csv").write_text("x,y\n1,2\n")
    async with Poller(tmp_path / "*.csv", StillClock()).opened() as poller:
        await poller.drain()
        assert len(poller.problem) == 40
        assert not (await poller.poll()).more
        assert len(poller.problem) == 40


async def test_contents_that_changed_while_nobody_looked_are_read_anew(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", Poller(tmp_path / "a.ndjson")
    write(path, 11, 12)
    await poller.drain_anew()
    write(path, 21, 22, mode="w")
    assert await poller.drain_anew() == lines(21, 22)
    assert len(set(poller.ids)) == 4


async def test_an_editor_that_writes_a_copy_and_renames_it_repeats_nothing(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.ndjson", tmp_path / ".a.ndjson.swp"
    write(path, 1, 2)
    async with Poller(path).opened() as poller:
        await poller.drain()
        copy.write_bytes(path.read_bytes())
        write(copy, 3)
        copy.rename(path)
        assert await poller.drain() == lines(3)
        write(path, 4)
        assert await poller.drain() == lines(4)
        copy.write_text('{"id":"9"}\n')
        copy.rename(path)
        assert await poller.drain() == lines(9)


async def test_a_file_with_two_names_is_one(tmp_path: Path) -> None:
    write(tmp_path / "a.ndjson", 1)
    (tmp_path / "b.ndjson").hardlink_to(tmp_path / "a.ndjson")
    async with Poller(tmp_path / "*.ndjson").opened() as poller:
        assert await poller.drain() == lines(1)


async def test_what_is_no_regular_file_is_left_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ndjson")
    (tmp_path / "folder.ndjson").mkdir()
    (tmp_path / "nowhere.ndjson").symlink_to(tmp_path / "missing")
    write(tmp_path / "a.ndjson", 1)
    async with Poller(tmp_path / "*.ndjson").opened() as poller:
        assert await poller.drain() == lines(1)


async def test_more_files_than_may_be_open(tmp_path: Path) -> None:
    poller = Poller(tmp_path / "**" / "*.ndjson")
    for folder in ("a", "b/c"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(100):
            write(tmp_path / folder / f"{number}.ndjson", number)
    async with poller.opened():
        assert len(await poller.drain(30)) == 200
        assert len(list(Path("/proc/self/fd").iterdir())) < 150
        for number in range(100):
            write(tmp_path / "a" / f"{number}.ndjson", number + 1000)
        assert sorted(int(each["id"]) for each in await poller.drain(30)) == list(range(1000, 1100))
    assert await poller.drain_anew() == []


async def test_a_folder_or_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with Poller(tmp_path / "in" / "*.ndjson").opened() as poller:
        with pytest.raises(Unavailable, match=f"folder {tmp_path}/in: No such file or directory"):
            await poller.poll()
        (tmp_path / "in").mkdir()
        assert await poller.drain() == []
    async with Poller(tmp_path / "a.ndjson").opened() as poller:
        with pytest.raises(Unavailable, match=r"a\.ndjson does not exist"):
            await poller.poll()
        write(tmp_path / "a.ndjson", 1)
        assert await poller.drain() == lines(1)


async def test_a_file_that_cannot_be_read_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.ndjson", 1)
    broken = tmp_path / "b.ndjson"

    def fail(path: str, *rest: object) -> object:
        if Path(path) == broken:
            raise FileError(f"{path}: Permission denied")
        return open_verified(path, *rest)  # type: ignore[arg-type]

    async with Poller(tmp_path / "*.ndjson").opened() as poller:
        with monkeypatch.context() as patched:
            patched.setattr(reading_module, "open_verified", fail)
            assert len(await poller.drain()) == 2
            assert poller.problem == [f"{broken}: Permission denied"]
            await poller.drain()
            assert len(poller.problem) == 1
        assert len(await poller.drain()) == 1
        assert not poller.problem


async def test_places_are_remembered_while_files_are_away_and_forgotten_in_the_end(tmp_path: Path) -> None:
    path, finalizer, clock = tmp_path / "a.ndjson", tmp_path / "elsewhere", StillClock()
    finalizer.mkdir()
    write(path, 1)
    async with Poller(tmp_path / "*.ndjson", clock, forget_hours=1, interval=1).opened() as poller:
        await poller.drain()
        path.rename(finalizer / "a")
        for _ in range(3):
            clock.at += 1000
            assert await poller.drain() == []
        (finalizer / "a").rename(path)
        assert await poller.drain() == []
        assert len(poller.files) == 1
        path.rename(finalizer / "a")
        for _ in range(6):
            clock.at += 1000
            await poller.drain()
        assert poller.files == {}
        (finalizer / "a").rename(path)
        assert await poller.drain() == lines(1)
    assert poller.ids[0] != poller.ids[1]


async def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    poller = Poller(tmp_path / "a.ndjson")
    for foreign in ({"": b'{"xmin":7}'}, {"": b"[]"}, {"x": b"{}"}):
        poller.checkpoint = foreign
        with pytest.raises(SettingsError, match="not one of a file source"):
            async with poller.opened():
                pass


async def test_a_giant_line_is_put_aside_and_survives_a_restart_in_its_middle(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.ndjson", Poller(tmp_path / "a.ndjson", line_limit=1000)
    write(path, 1)
    with path.open("ab") as file:
        file.write(b'{"id":"' + b"x" * 20_000_000)
    async with poller.opened():
        assert await poller.drain() == lines(1)
    with path.open("ab") as file:
        file.write(b'"}\n')
    write(path, 2)
    assert await poller.drain_anew() == lines(2)
    (reject,) = poller.rejects
    assert f"{path}, line 2, bytes 11-20000019: a line of 20000009 bytes" in reject.error
    write(path, 3)
    assert await poller.drain_anew() == lines(3)


async def test_csv_is_read_on_in_its_middle_and_after_its_header(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.csv", Poller(tmp_path / "a.csv")
    path.write_text("id,name\n")
    assert await poller.drain_anew() == []
    for number in range(3):
        with path.open("a") as file:
            file.write(f'{number},"a\nb"\n')
        assert await poller.drain_anew() == [{"id": str(number), "name": "a\nb"}]
    (part,) = poller.files.values()
    assert part["line"] == 7


async def test_a_header_that_does_not_do_is_trouble_of_that_file_until_it_is_mended(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("key,name\n1,2\n")
    (tmp_path / "b.csv").write_text("id,name\n1,2\n")
    async with Poller(tmp_path / "*.csv").opened() as poller:
        assert len(await poller.drain()) == 1
        assert poller.problem == [f"{tmp_path}/a.csv: its header: no column 'id'; there are 'key', 'name'"]
        await poller.drain()
        assert len(poller.problem) == 1
        (tmp_path / "a.csv").write_text("id,name\n3,4\n")
        assert await poller.drain() == [{"id": "3", "name": "4"}]
        assert not poller.problem


async def test_settings_that_named_a_wrong_column_cost_no_row(tmp_path: Path) -> None:
    path, poller = tmp_path / "a.csv", Poller(tmp_path / "a.csv", subject="key")
    path.write_text("id,name\n1,2\n3,4\n")
    assert await poller.drain_anew() == []
    assert poller.problem
    poller.options = poller.options.model_copy(update={"subject": "id"})
    assert await poller.drain_anew() == [{"id": "1", "name": "2"}, {"id": "3", "name": "4"}]


async def test_a_change_wakes_it(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.touch()
    async with Poller(path, interval=60).opened() as poller:
        for number in range(1, 4):
            write(path, number)
            await poller.until(number)
    assert poller.data == lines(1, 2, 3)


class Turmoil:
    """What may happen to a file and to whoever reads it, at random."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.path = folder / "a.ndjson"
        self.path.touch()
        self.poller = Poller(self.path)
        self.rng = rng
        self.written = 0
        self.rotated = 0
        self.opened = contextlib.AsyncExitStack()

    async def reopen(self) -> None:
        await self.opened.aclose()
        await self.opened.enter_async_context(self.poller.opened())

    async def write(self) -> None:
        count = self.rng.randrange(1, 40)
        write(self.path, *range(self.written, self.written + count))
        self.written += count

    async def write_a_part(self) -> None:
        line = f'{{"id":"{self.written}"}}\n'
        cut = self.rng.randrange(len(line))
        with self.path.open("a") as file:
            file.write(line[:cut])
        if self.rng.random() < 0.5:
            await self.poll()
        with self.path.open("a") as file:
            file.write(line[cut:])
        self.written += 1

    async def poll(self) -> None:
        await self.poller.poll(self.rng.randrange(1, 50))

    async def crash(self) -> None:
        for _ in range(self.rng.randrange(1, 3)):
            await self.poller.source.poll(self.rng.randrange(1, 50))  # and not committed
        await self.reopen()

    async def rotate(self) -> None:
        await self.poller.drain()  # rotated twice before a look, nothing tells which came first
        if self.path.stat().st_size:
            self.rotated += 1
            self.path.rename(self.path.with_suffix(f".{self.rotated}"))
            self.path.touch()

    async def edit(self) -> None:
        await self.poller.drain()
        copy = self.path.with_suffix(".copy")
        copy.write_bytes(self.path.read_bytes())
        copy.rename(self.path)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_every_line_comes_once_and_in_order(tmp_path: Path, seed: int) -> None:
    turmoil = Turmoil(tmp_path, random.Random(seed))
    happenings = [turmoil.write] * 3 + [turmoil.poll] * 2
    happenings += [turmoil.write_a_part, turmoil.crash, turmoil.reopen, turmoil.rotate, turmoil.edit]
    await turmoil.reopen()
    async with turmoil.opened:
        for _ in range(300):
            await turmoil.rng.choice(happenings)()
        await turmoil.poller.drain()
    assert turmoil.poller.data == lines(*range(turmoil.written)), f"seed {seed}"
    assert len(set(turmoil.poller.ids)) == turmoil.written
    assert turmoil.poller.rejects == []


async def test_closing_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.ndjson", 1)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hang(*_: object) -> object:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
        raise OSError

    monkeypatch.setattr(reading_module, "open_verified", hang)
    async with asyncio.timeout(10), Poller(tmp_path / "*.ndjson").opened() as poller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await poller.poll()
    released.set()
