"""Which partition the records of a key go to, on every bus."""

import zlib


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key: its CRC-32 modulo the number of partitions, as librdkafka's `consistent` does.

    Murmur2, the default of the Java client, costs about 10 µs a key in Python; CRC-32 costs 0.1 µs.
    """
    return zlib.crc32(key) % partitions
