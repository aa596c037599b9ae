from shared.http.accepting.crowds import CrowdShare


def test_a_few_begin_in_each_short_turn() -> None:
    share = CrowdShare()
    assert [share.of_turn(turn * 0.0005) for turn in range(4)] == [4, 4, 4, 4]


def test_as_many_begin_in_a_second_of_long_turns_as_of_short_ones_or_more() -> None:
    for turn in (0.001, 0.01, 0.08, 0.5):
        share = CrowdShare()
        share.of_turn(0.0)
        assert sum(share.of_turn(number * turn) for number in range(1, int(1 / turn) + 1)) >= 400


def test_no_turn_is_given_to_a_crowd_alone() -> None:
    share = CrowdShare()
    share.of_turn(0.0)
    assert share.of_turn(0.9) == 200


def test_a_crowd_after_a_quiet_time_begins_as_the_first_one() -> None:
    share = CrowdShare()
    share.of_turn(0.0)
    assert share.of_turn(60.0) == 4
