"""A loss is named once, and is a problem for a while."""

from services.system_api.sources.file.reading.losses import Losses
from services.system_api.sources.source import Loss


def test_a_loss_is_taken_once_and_stays_a_problem_for_a_while() -> None:
    losses = Losses(keep=100)
    losses.add("1.a", "a.log: gone", 5)
    losses.add("2.b", "b.log: gone")
    assert losses.take(10) == (Loss("a.log: gone", 5), Loss("b.log: gone"))
    assert losses.take(11) == ()
    assert losses.problems(110) == ["a.log: gone", "b.log: gone"]
    losses.over("2.b")
    assert losses.problems(110) == ["a.log: gone"]
    assert losses.problems(111) == []


def test_of_many_losses_the_last_are_named_together() -> None:
    losses = Losses(keep=100)
    for number in range(25):
        losses.add(str(number), f"{number}.log: gone", 2)
    found = losses.take(0)
    assert len(found) == 21
    assert found[-1] == Loss("5 more files, from 20.log: gone to 24.log: gone", 10, 5)
    assert len(losses.problems(0)) == 21
