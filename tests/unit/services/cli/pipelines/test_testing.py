"""`trelay test` on examples that agree and that differ."""

import re
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from services.cli import main
from tests.unit.services.cli.pipelines.test_evaluation import SETTINGS

PAGE = (Path(__file__).parents[5] / "docs" / "pipelines.md").read_text()
OF_THE_PAGE = """
process:
  pipelines:
    orders:
      sources: [orders]
      channel: orders
      steps:
        - enrich: {http: {url: "https://crm.example/{key}"}, key: customer, into: data.customer, missing: 'null'}
        - call: {url: "https://fraud.example/score", into: data.score, response: score}
    counts:
      sources: [orders]
      channel: counts
      steps:
        - aggregate: {window: {tumbling: 60}, values: {n: count}, idle: 5}
"""

AGREE = """
tests:
  - name: open orders go to the channel of their region
    pipeline: orders
    given: [{data: {status: open, region: eu, price: 1.50}, subject: C-9}]
    expect: [{channel: orders.eu, subject: C-9, data: {status: open, region: eu, price: 1.50}}]
  - name: closed orders are left out
    pipeline: orders
    given: [{data: {status: closed}}]
  - name: an order without a region is a dead letter
    pipeline: orders
    given: [{data: {status: open}}]
    dead_letters: ["steps.1.validate: *"]
"""

DIFFER = """
tests:
  - name: another region
    pipeline: orders
    given: [{data: {status: open, region: eu}}, {data: {status: open, region: us}}]
    expect: [{channel: orders.eu}, {channel: orders.uk}]
  - name: too much
    pipeline: orders
    given: [{data: {status: open, region: eu}}]
  - name: "no \\u0001 dead letter"
    pipeline: orders
    given: [{data: {status: closed}}]
    dead_letters: ["*"]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "trelay.yaml").write_text(SETTINGS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_examples_beside_the_settings_are_found(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "orders.test.yaml").write_text(AGREE)
    assert main(["test"]) == 0
    *examples, summary = capfd.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in examples] == [f"ok     {folder / 'orders.test.yaml'}"] * 3
    assert summary == "3 passed, 0 failed"


def test_a_difference_is_shown_as_a_diff(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "orders.test.yaml").write_text(DIFFER)
    assert main(["test", "orders.test.yaml", "--junit", "report.xml"]) == 1
    out = capfd.readouterr().out
    assert '-  "channel": "orders.uk"' in out
    assert '+  "channel": "orders.us"' in out
    assert "dead letters (-: expected, +: found)\n       -*\n" in out
    assert out.endswith("0 passed, 3 failed\n")
    (suite,) = parse(folder / "report.xml").getroot()  # noqa: S314 -- written by the line above
    assert suite.attrib == {"name": "orders.test.yaml", "tests": "3", "failures": "3"}
    assert [case.get("name") for case in suite] == ["another region", "too much", "no \ufffd dead letter"]
    assert all("expected" in (case[0].text or "") for case in suite)


def test_examples_are_chosen_by_name(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "orders.test.yaml").write_text(AGREE)
    assert main(["test", "-k", "closed"]) == 0
    assert capfd.readouterr().out.endswith("1 passed, 0 failed\n")
    assert main(["test", "-k", "nothing"]) == 2
    assert capfd.readouterr().err == "no example has a name that contains 'nothing'\n"


def test_a_file_may_name_its_settings(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("elsewhere") / "orders.test.yaml"
    file.write_text(f"config: {folder / 'trelay.yaml'}\n{AGREE}")
    (folder / "trelay.yaml").rename(folder / "moved.yaml")
    assert main(["test", str(file)]) == 2
    file.write_text(f"config: {folder / 'moved.yaml'}\n{AGREE}")
    assert main(["test", str(file)]) == 0


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "found no *.test.yaml; expected one, or FILE"),
        ("tests: []", "tests: "),
        ("tests: [{name: a, pipeline: orders}]", "tests.0.given: "),
        ("tests: [{name: a, pipeline: order, given: [{}]}]", "has no 'order'; it has: orders"),
    ],
)
def test_a_wrong_file_is_named(
    folder: Path, content: str | None, error: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (folder / "orders.test.yaml").write_text(content)
    assert main(["test"]) == 2
    assert error in capfd.readouterr().err


def test_the_examples_of_the_page_pass(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "trelay.yaml").write_text(OF_THE_PAGE)
    found = [each for each in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if re.search(r"mocks:|tick:", each)]
    for number, each in enumerate(found):
        (folder / f"{number}.test.yaml").write_text(each)
    assert main(["test"]) == 0
    assert capfd.readouterr().out.endswith("3 passed, 0 failed\n")


def test_a_look_up_without_an_answer_fails(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "trelay.yaml").write_text(OF_THE_PAGE)
    (folder / "orders.test.yaml").write_text("tests: [{name: a, pipeline: orders, given: [{data: {customer: 7}}]}]")
    assert main(["test", "--junit", "report.xml"]) == 1
    assert "steps.0.enrich: GET https://crm.example/7 has no answer" in capfd.readouterr().out
    assert "has no answer" in (folder / "report.xml").read_text()
