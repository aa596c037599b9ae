"""The reference of the steps, and the page that holds it."""

import json
import re
from pathlib import Path

from services.process_api.pipeline.pipeline import Pipeline
from services.process_api.pipeline.steps.reference import reference
from services.process_api.pipeline.steps.registry import STEPS
from services.process_api.settings import ProcessSettings
from shared.settings import parse
from tests.unit.services.process_api.making import event

PAGE = (Path(__file__).parents[6] / "docs" / "pipelines.md").read_text()


def test_every_step_has_a_section_with_its_settings_and_an_example() -> None:
    sections = re.split(r"^### (\w+)\n", reference(), flags=re.MULTILINE)[1:]
    found = dict(zip(sections[::2], sections[1::2], strict=True))
    assert list(found) == [step.kind for step in STEPS]
    for step in STEPS:
        assert f"- `{step.kind}`: " in found[step.kind]
        assert f"- {step.example.step}\n" in found[step.kind]
    assert "- `route.default`: The channel for all other keys" in found["route"]


def test_every_setting_of_a_step_is_described() -> None:
    assert not re.findall(r"^- `[^`]+`: *$", reference(), flags=re.MULTILINE)


def test_the_page_holds_the_reference() -> None:
    _, begin, rest = PAGE.partition("<!-- Generated: python -m services.process_api.pipeline.steps.reference -->\n")
    generated, end, _ = rest.partition("<!-- End of the generated part. -->")
    assert begin
    assert end
    assert generated.strip() == reference().strip(), "run the command that the page names, and paste what it prints"


def test_the_guarantee_and_the_cost_of_every_step_are_on_the_page() -> None:
    table = PAGE.partition("## What each step guarantees and costs\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines() if row.startswith("| `")]
    assert all(len(row) == 3 and all(row) for row in rows)
    named = [kind for steps, _, _ in rows for kind in re.findall(r"`(\w+)`", steps)]
    assert sorted(named) == sorted(step.kind for step in STEPS)


def test_the_pipeline_of_the_page_does_what_the_page_says() -> None:
    found = re.search(r"```yaml\n(process:.*?)```", PAGE, re.DOTALL)
    said = re.search(
        r"An event with the entity `(.+?)` is published on `(.+?)` as\s+`(.+?)`, with the subject `(.+?)`", PAGE
    )
    assert found is not None
    assert said is not None
    (options,) = parse(found[1], ProcessSettings, {}).process.pipelines.values()
    (output,) = Pipeline("orders", options).run(event(json.loads(said[1])))
    written = json.loads(output.value or b"")
    assert (output.key.decode(), written["data"], written["subject"]) == (said[2], json.loads(said[3]), said[4])
