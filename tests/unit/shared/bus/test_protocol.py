"""The values of the bus's protocol."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.protocol import TopicPartition, Transaction, partition_of


@given(st.binary(), st.integers(1, 64))
def test_a_key_has_one_partition(key: bytes, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


def test_the_partition_is_that_of_librdkafka() -> None:
    # CRC-32 of "123456789" is 0xCBF43926, the check value of every implementation.
    assert partition_of(b"123456789", 1000) == 0xCBF43926 % 1000


def test_a_transaction_keeps_the_order_of_a_topic() -> None:
    transaction = Transaction()
    assert transaction.empty
    for number in range(3):
        transaction.append("t", b"k", b"%d" % number)
    assert [record.value for record in transaction.records["t"]] == [b"0", b"1", b"2"]
    assert not transaction.empty


def test_offsets_belong_to_one_group() -> None:
    transaction = Transaction()
    transaction.commit_offset("g", TopicPartition("t", 0), 5)
    transaction.commit_offset("g", TopicPartition("t", 0), 7)
    assert transaction.offsets == {("t", 0): 7}
    with pytest.raises(AssertionError, match="one group"):
        transaction.commit_offset("other", TopicPartition("t", 0), 9)
