"""Expressions that run away are found in a process of their own."""

from services.process_api.pipeline.expression import trial


def test_what_is_well_is_not_mentioned() -> None:
    assert trial.faults(["a > 1", "$sum(lines.price)", "$number('x')", "$error('always')", "a > 1"]) == {}


def test_nothing_is_tried_where_nothing_is_to_try() -> None:
    assert trial.faults([]) == {}


def test_every_fault_is_found_and_what_stands_between_them_is_tried() -> None:
    loops = "($f := function(){$f()}; $f())"
    # One step, so that the library's own limit does not break it off; it compares each with each.
    hangs = "$count($distinct([1..200000]))"
    devours = '$pad("x", 5000000000)'
    found = trial.faults(["a", "b +", devours, "c", hangs, loops, "d"])
    assert list(found) == ["b +", devours, hangs, loops]
    assert "does not compile" in found["b +"]
    assert "does not come to an end, or takes too much memory" in found[devours]
    assert "stopped after seconds of computing" in found[hangs]
    assert "D1012" in found[loops]


def test_one_that_does_not_end_is_ended() -> None:
    found = trial.faults(["a"], seconds=0.001)
    assert found == {"a": "the expression does not come to an end, or takes too much memory: stopped after 0.001 s"}
