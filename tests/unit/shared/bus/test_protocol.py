"""The values of the bus's protocol."""

import pytest

from shared.bus.protocol import TopicPartition, Transaction


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
