"""CRC-32C, the checksum of record batches, by instructions of the processor: a tenth of what aiokafka's tables cost.

Aiokafka's remains for platforms for which Google's library has no compiled extension: its Python is far slower.
"""

import google_crc32c
from aiokafka.record.util import calc_crc32c

_compiled = google_crc32c.implementation == "c"


def crc32c(*parts: bytes) -> int:
    """Return the checksum of all parts, one behind the other."""
    if not _compiled:
        return int(calc_crc32c(b"".join(parts)))
    checksum = 0
    for part in parts:
        checksum = google_crc32c.extend(checksum, part)
    return checksum
