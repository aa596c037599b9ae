"""The reference of the steps in Markdown, made of what each step declares; `docs/pipelines.md` holds it.

Print it: `python -m services.process_api.pipeline.steps.reference`.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import yaml

from services.process_api.pipeline.steps.registry import STEPS
from services.process_api.pipeline.steps.step import Example, StepOptions
from shared.settings import Options, descriptions


def reference() -> str:
    """Return a section for each kind of step, in the order of the registry."""
    return "\n\n".join("\n".join(_section(step)) for step in STEPS) + "\n"


def _section(step: type[StepOptions]) -> Iterator[str]:
    yield f"### {step.kind}\n"
    yield f"{_one_line(step.__doc__)}\n"
    for name, description in _settings(step):
        yield f"- `{name}`: {description}"
    yield f"\n```yaml\n- {step.example.step}\n```\n"
    yield from _example(step.example)


def _settings(options: type[Options], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return each setting and its description, those of nested options included."""
    for name, field in options.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        yield path, _one_line(descriptions(options).get(name))
        for nested in _nested(field.annotation):
            yield from _settings(nested, f"{path}.")


def _nested(annotation: Any) -> Iterator[type[Options]]:
    if isinstance(annotation, type) and issubclass(annotation, Options) and annotation is not StepOptions:
        yield annotation
    for argument in get_args(annotation):
        yield from _nested(argument)


def _example(example: Example) -> Iterator[str]:
    if example.module:
        yield f"```python\n# shop/orders.py\n{example.module}```\n"
    for name, content in example.files.items():
        yield f"```text\n# {name}\n{content}```\n"
    if example.lists:
        yield f"```yaml\n{yaml.safe_dump({'process': {'lists': dict(example.lists)}}, sort_keys=False)}```\n"
    if example.response is not None:
        yield f"The API answers `{json.dumps(example.response)}`:\n"
    yield "```text"
    for before, after in example.cases:
        yield f"{_json(before)}  becomes  {_outcome(after)}"
    yield "```"


def _outcome(events: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(map(_json, events)) or "no event"


def _json(attributes: Mapping[str, Any]) -> str:
    return json.dumps(attributes, ensure_ascii=False)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


if __name__ == "__main__":
    sys.stdout.write(reference())
