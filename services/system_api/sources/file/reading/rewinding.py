"""Where a file source resumes after an operator has rewound it.

A file that is read again keeps its id, so its events have the ids that they had before. A file that is gone stays as it
is: nothing of it can be read again.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from services.system_api.sources.file.reading.catalogue import Catalogue
from services.system_api.sources.file.reading.disk import Disk
from services.system_api.sources.file.reading.progress import Progress, save, unread
from shared.errors import Malformed


async def checkpoint_at(
    catalogue: Catalogue, disk: Disk, place: Literal["beginning", "end"] | datetime
) -> dict[str, bytes]:
    """Return the checkpoint from which the files that are there are read again; see `Rewinding`.

    Since a time: all of each file that was modified since then.

    Raises:
        Malformed: a file source cannot be rewound to its end.
    """
    if place == "end":
        raise Malformed("files can be rewound to the beginning, to a time and to a position only")
    since = 0 if isinstance(place, str) else int(place.timestamp() * 1e9)
    modified = await disk.run(_modified, dict(catalogue.files))
    files = {
        file_id: unread(progress) if modified.get(file_id, -1) >= since else progress
        for file_id, progress in catalogue.files.items()
    }
    count = msgspec.structs.replace(catalogue.count, started=True)
    return {
        "": save(count),
        **{file_id: save(progress) for file_id, progress in files.items()},
    }


def _modified(files: Mapping[str, Progress]) -> dict[str, int]:
    """Return when each file that is where it was last seen was modified last (ns)."""
    found = {}
    for file_id, progress in files.items():
        try:
            stat = os.stat(progress.path)  # noqa: PTH116 -- a path may hold bytes that are no UTF-8
        except OSError:
            continue
        if (stat.st_dev, stat.st_ino) == progress.inode:
            found[file_id] = stat.st_mtime_ns
    return found
