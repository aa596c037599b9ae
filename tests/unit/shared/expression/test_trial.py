"""Expressions that do not terminate are found in a separate process."""

from shared.expression import trial


def test_valid_expressions_have_no_faults() -> None:
    assert trial.faults(["a > 1", "$sum(lines.price)", "$number('x')", "$error('always')", "a > 1"]) == {}


def test_no_expressions_have_no_faults() -> None:
    assert trial.faults([]) == {}


def test_every_fault_is_found_and_the_expressions_between_are_tried() -> None:
    loops = "($f := function(){$f()}; $f())"
    # One long step, which the time limit of the library does not stop: it compares each with each.
    hangs = "$count($distinct([1..200000]))"
    exhausts = '$pad("x", 5000000000)'
    found = trial.faults(["a", "b +", exhausts, "c", hangs, loops, "d"])
    assert list(found) == ["b +", exhausts, hangs, loops]
    assert "does not compile" in found["b +"]
    assert "does not terminate, or takes too much memory" in found[exhausts]
    assert "stopped at the limit of CPU time" in found[hangs]
    assert "D1012" in found[loops]


def test_a_trial_that_takes_too_long_is_stopped() -> None:
    found = trial.faults(["a"], seconds=0.001)
    assert found == {"a": "the expression does not terminate, or takes too much memory: stopped after 0.001 s"}
