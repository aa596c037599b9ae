"""Outcomes as JUnit's XML."""

from xml.etree.ElementTree import fromstring

from services.cli.pipelines.junit import Outcome, document


def test_each_file_is_a_suite() -> None:
    outcomes = [
        Outcome("a.test.yaml", "passes", "", 0.0012),
        Outcome("b.test.yaml", "fails", "<diff>\x00", 1),
        Outcome("a.test.yaml", "passes too", "", 0),
    ]
    first, second = fromstring(document(outcomes))  # noqa: S314 -- written here
    assert first.attrib == {"name": "a.test.yaml", "tests": "2", "failures": "0"}
    assert [case.get("time") for case in first] == ["0.001", "0.000"]
    assert second.attrib == {"name": "b.test.yaml", "tests": "1", "failures": "1"}
    assert second[0][0].text == "<diff>\ufffd"
