"""The search for a record that becomes too large."""

from services.process_api.oversize import Oversize


def test_nothing_is_suspected_before_something_was_refused() -> None:
    oversize = Oversize()
    assert not oversize.alone(0)
    assert oversize.refusal(0) is None
    assert not oversize.cut(0)


def test_what_a_refused_transaction_was_made_of_is_tried_one_by_one() -> None:
    oversize = Oversize()
    assert oversize.blame(10, 19, "too large")
    assert [oversize.alone(offset) for offset in (9, 10, 19, 20)] == [True, True, True, False]
    assert oversize.refusal(15) is None


def test_the_one_that_is_refused_alone_goes_to_the_dead_letter() -> None:
    oversize = Oversize()
    oversize.blame(10, 19, "too large")
    assert oversize.blame(15, 15, "2 MiB, the limit is 1")
    assert oversize.refusal(15) == "2 MiB, the limit is 1"
    assert oversize.refusal(14) is None
    assert not oversize.cut(15)


def test_one_whose_dead_letter_is_refused_is_cut_and_then_nothing_helps() -> None:
    oversize = Oversize()
    assert oversize.blame(15, 15, "too large")
    assert oversize.blame(15, 15, "still too large")
    assert oversize.cut(15)
    assert oversize.refusal(15) == "too large"
    assert not oversize.blame(15, 15, "and still")


def test_the_same_refusal_again_teaches_nothing() -> None:
    oversize = Oversize()
    assert oversize.blame(10, 19, "too large")
    assert not oversize.blame(10, 19, "too large")
