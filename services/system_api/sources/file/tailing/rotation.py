"""Files that rotation made of the files of a source: which unknown ones belong to the source, and which were missed."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from services.system_api.sources.file.filesystem import FileStat, Inode
from services.system_api.sources.file.folders.globbing import Glob
from services.system_api.sources.file.folders.neighbourhood import Neighbourhood
from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.open_files import OpenFiles
from services.system_api.sources.file.reading.progress import Progress


class Missed(NamedTuple):
    """A file that looks like a rotated one, and was never read."""

    file: FileStat
    like: str
    """The path of the file that was rotated."""
    file_id: str
    """The id of that file."""


class Rotation:
    """The setting `rotated`, applied to files."""

    def __init__(self, glob: Glob, rotated: Glob | None) -> None:
        """`glob` is that of the setting `path`."""
        self._glob = glob
        self._rotated = rotated
        self._named: set[Inode] = set()
        """Missed files that were returned before."""

    def begin(self, found: Iterable[FileStat], open_files: OpenFiles) -> None:
        """Note at the first look what was rotated before the source existed: that is not read."""
        catalogue = open_files.catalogue
        if self._rotated is None or catalogue.count.since is not None:
            return
        newest = max((file.mtime for file in found if self.is_rotated(file.path)), default=0)
        catalogue.count = msgspec.structs.replace(catalogue.count, since=newest)
        open_files.save_count()

    def wanted(self, file: FileStat, catalogue: Catalogue) -> bool:
        """Whether an unknown file is to be read."""
        return not self.is_rotated(file.path) or file.mtime > (catalogue.count.since or 0)

    def missed(self, departed: dict[str, Progress], is_known: Callable[[Inode], bool]) -> Sequence[Missed]:
        """Return unknown files that look like these departed ones after another rotation. Blocking.

        They are outside the settings, and were written after the departed file was read: it was rotated more than once
        between two looks, or while Trelay was not running.
        """
        # Of a file that was rotated before, other rotated files are no successors.
        departed = {each: known for each, known in departed.items() if known.mtime and self._glob.matches(known.path)}
        near = Neighbourhood([place for known in departed.values() for place in _places(known)], far=False)
        missed = []
        for file_id, known in departed.items():
            for place in _places(known):
                for file in near.named_like(place):
                    if (
                        file.mtime > known.mtime
                        and file.size
                        and file.inode not in self._named
                        and not is_known(file.inode)
                        and not self._glob.matches(file.path)
                        and not (self._rotated is not None and self._rotated.matches(file.path))
                    ):
                        self._named.add(file.inode)
                        missed.append(Missed(file, place, file_id))
        return missed

    def is_rotated(self, path: str) -> bool:
        """Whether a path is one of `rotated` alone."""
        return self._rotated is not None and self._rotated.matches(path) and not self._glob.matches(path)


def _places(known: Progress) -> list[str]:
    return [path for path in (known.path, known.real) if path]
