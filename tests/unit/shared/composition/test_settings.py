from shared.composition.settings import SharedSettings


def test_a_replica_has_no_name_unless_a_section_gives_one() -> None:
    assert SharedSettings().node is None
