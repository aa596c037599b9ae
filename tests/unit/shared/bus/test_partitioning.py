from hypothesis import given
from hypothesis import strategies as st

from shared.bus.partitioning import partition_of


@given(st.binary(), st.integers(1, 64))
def test_a_key_has_one_partition(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


def test_the_partition_is_that_of_librdkafka() -> None:
    # CRC-32 of "123456789" is 0xCBF43926, the check value of every implementation.
    assert partition_of(b"123456789", 1000) == 0xCBF43926 % 1000
