"""One file, one verdict: `trelay check` and validators of JSON Schema, given what `trelay schema` prints."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import jsonschema_rs
import pytest
import regress
import trustme

from services.cli import main
from services.standalone.settings import WholeSettings
from shared.errors import SettingsError
from shared.settings import document, json_schema
from shared.settings.loading import parse_placed
from tests.unit.services.cli.beyond_a_schema import BEYOND_A_SCHEMA
from tests.unit.services.cli.settings_files import EMPTY, RIGHT, WHOLE, WRONG

REFERENCES = ("${X}", "x${X:-5}")
ODD: tuple[Any, ...] = (
    None, True, 0, 1, -1, 2.5, "", "x", "yes", "5", "a b", "ä", "a@b", "$${X}", "x" * 300,
    [], ["x"], [1], {}, {"x": 1}, *REFERENCES,
)  # fmt: skip
ENVIRONMENT = {"X": "1"}

INDEPENDENT = {"the file", "database", "logs", "system", "sources", "process", "pipelines", "experience", "delivery"}
"""Where what stands side by side has nothing to do with one another."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "password.txt").write_text("secret\n")
    (folder / "order.json").write_text("{}")
    (folder / "customers.csv").write_text("id,name\nC-1,Ada\n")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    issued = authority.issue_cert("localhost")
    issued.private_key_pem.write_to_path(folder / "own.key")
    issued.cert_chain_pems[0].write_to_path(folder / "own.pem")
    return folder


@pytest.fixture(scope="module")
def odd(folder: Path) -> list[tuple[tuple[Any, ...], Any, Any, str | None]]:
    """Each place of the whole example with each odd value: the settings around it, and what is wrong with them."""
    whole = document.read(WHOLE).value
    found = [(path, value, _alone(whole, path, value)) for path in _places(whole) for value in ODD]
    everything = json.dumps([whole, *ODD])
    assert json.dumps(document.read(everything).value) == everything
    with pytest.MonkeyPatch.context() as patch:
        # Each of them is JSON. As YAML, which other tests read, it has the same value, and takes as long as the checks.
        patch.setattr(document, "read", _read_json)
        return [(path, value, settings, _fault(folder, settings)) for path, value, settings in found]


Validator = Callable[[Any], bool]


class Ecma262:
    """A validator whose regular expressions are those of JavaScript."""

    def __init__(self, schema: Any) -> None:
        made = jsonschema.validators.extend(
            jsonschema.Draft202012Validator,
            {"pattern": _pattern, "patternProperties": _pattern_properties, "$ref": _remembering()},
        )
        made.check_schema(schema)
        self._ready = made(schema)

    def __call__(self, instance: Any) -> bool:
        """Return whether an instance is valid."""
        return bool(self._ready.is_valid(instance))


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema(WholeSettings)


@pytest.fixture(scope="module", params=["jsonschema-rs", "jsonschema with ECMA-262"])
def validator(request: pytest.FixtureRequest, schema: dict[str, Any]) -> Validator:
    if request.param == "jsonschema-rs":
        return jsonschema_rs.validator_for(schema).is_valid
    return Ecma262(schema)


_compiled: dict[str, regress.Regex] = {}


def _matches(pattern: str, text: str) -> bool:
    if pattern not in _compiled:
        _compiled[pattern] = regress.Regex(pattern, "u")
    return _compiled[pattern].find(text) is not None


def _pattern(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(
    validator: Any, patterns: Mapping[str, Any], instance: Any, _schema: Any
) -> Iterator[jsonschema.ValidationError]:
    for pattern, below in patterns.items():
        for key, value in instance.items() if isinstance(instance, dict) else ():
            if _matches(pattern, key):
                yield from validator.descend(value, below, path=key, schema_path=pattern)


def _remembering() -> Callable[..., Iterator[jsonschema.ValidationError]]:
    """Make the keyword `$ref`, which validates an object once: the files have most of their objects in common."""
    follow = jsonschema.Draft202012Validator.VALIDATORS["$ref"]
    verdicts: dict[tuple[str, int], tuple[Any, bool]] = {}

    def reference(validator: Any, to: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
        key = to, id(instance)
        if key not in verdicts:  # with the object, so that no other one gets its id
            verdicts[key] = instance, next(iter(follow(validator, to, instance, schema)), None) is None
        if not verdicts[key][1]:
            yield jsonschema.ValidationError(f"{instance!r} is not valid under {to}")

    return reference


@pytest.mark.parametrize("text", [WHOLE, *RIGHT])
def test_valid_files_are_valid_for_all(
    text: str, folder: Path, validator: Validator, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "trelay.yaml").write_text(text)
    assert main(["check", str(folder / "trelay.yaml")]) == 0, capsys.readouterr().err
    assert validator(document.read(text).value)


@pytest.mark.parametrize("text", EMPTY)
def test_settings_without_a_section_are_valid_and_refused_by_check_alone(
    text: str, folder: Path, validator: Validator, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "trelay.yaml").write_text(text)
    assert main(["check", str(folder / "trelay.yaml")]) == 2
    assert "no settings" in capsys.readouterr().err
    assert validator(document.read(text).value)


@pytest.mark.parametrize("text", WRONG)
def test_invalid_files_are_invalid_for_all(
    text: str, folder: Path, validator: Validator, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "trelay.yaml").write_text(text)
    assert main(["check", str(folder / "trelay.yaml")]) == 2
    assert f"{folder / 'trelay.yaml'}:1:" in capsys.readouterr().err
    assert not validator(document.read(text).value)


@pytest.mark.timeout(900)  # 20,000 files; longer beside other work
def test_every_setting_with_every_odd_value(
    odd: list[tuple[tuple[Any, ...], Any, Any, str | None]], validator: Validator
) -> None:
    for path, value, settings, said in odd:
        if isinstance(validator, Ecma262) and not isinstance(value, str):
            continue  # the other one has them too, in a tenth of the time; the two differ in their regular expressions
        if not validator(settings):
            assert said is not None, (path, value)
        elif value not in REFERENCES:  # a schema does not know what the environment holds
            assert said is None or any(part in said for part in BEYOND_A_SCHEMA), (path, value, said)


def test_every_setting_is_there(schema: dict[str, Any]) -> None:
    """So that the test of odd values leaves none out: each name of a setting stands in the whole example."""
    names = {name for options in schema["$defs"].values() for name in options.get("properties", ())}
    of_the_other_bus = {"writing_connections", "reading_connections", "retention_check_interval"}
    without_others = {"deliver", "batch_events", "batch_bytes", "state", "key_folder"}
    assert {name for name in names - of_the_other_bus - without_others if f"{name}:" not in WHOLE} == set()


def test_each_setting_is_described(schema: dict[str, Any]) -> None:
    nodes = {"the file": schema, **schema["$defs"]}
    settings = {(of, name): said for of, node in nodes.items() for name, said in node.get("properties", {}).items()}
    assert [place for place, said in settings.items() if not said.get("description")] == []
    assert len(settings) > 100


def test_no_object_is_left_open(schema: dict[str, Any]) -> None:
    """But for the JSON Schema of the step `validate`."""
    objects = [node for node in _nodes(schema) if node.get("type") == "object"]
    assert [node for node in objects if "additionalProperties" not in node] == [{"type": "object"}]


def test_only_standard_keywords_are_used(schema: dict[str, Any]) -> None:
    meta = jsonschema.Draft202012Validator.META_SCHEMA
    standard = {"$schema", "$ref", "$defs", "if", "then", "else"}
    for reference in meta["allOf"]:
        vocabulary = jsonschema.validators.Draft202012Validator(meta)._resolver.lookup(reference["$ref"])
        standard |= vocabulary.contents["properties"].keys()
    assert {keyword for node in _nodes(schema) for keyword in node} - standard - {"format"} == set()


@pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")
def test_the_patterns_are_those_of_javascript(schema: dict[str, Any]) -> None:
    patterns = sorted(_patterns(schema))
    texts = [*(value for value in ODD if isinstance(value, str)), *_texts(document.read(WHOLE).value)]
    script = (
        "const [patterns, texts] = JSON.parse(require('fs').readFileSync(0));"
        "console.log(JSON.stringify(patterns.map(p => texts.map(t => new RegExp(p, 'u').test(t)))))"
    )
    ran = subprocess.run(
        ["node", "-e", script], input=json.dumps([patterns, texts]), capture_output=True, text=True, check=True
    )
    assert json.loads(ran.stdout) == [[_matches(pattern, text) for text in texts] for pattern in patterns]


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _places(item, (*path, key))


def _alone(whole: Any, path: tuple[Any, ...], value: Any, within: str = "the file") -> Any:
    """Put a value at a place, and leave out what is beside it and independent of it: that is quicker to read."""
    if not path:
        return value
    first, *further = path
    put = _alone(whole[first], tuple(further), value, str(first))
    if isinstance(whole, list):
        return [put] if within == "steps" else [*whole[:first], put, *whole[first + 1 :]]
    return {first: put} if within in INDEPENDENT else {**whole, first: put}


def _fault(folder: Path, value: Any) -> str | None:
    try:
        parse_placed(json.dumps(value).encode(), WholeSettings, ENVIRONMENT, name="odd.yaml", folder=folder)
    except SettingsError as exc:
        return str(exc)
    return None


def _read_json(text: str) -> document.Document:
    value = json.loads(text)
    return document.Document(value, dict.fromkeys(_places(value), document.Place(1, 1)))


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Yield each schema within a schema."""
    yield node
    for keyword, item in node.items():
        if keyword in {"properties", "patternProperties", "$defs"}:
            for below in item.values():
                yield from _nodes(below)
        elif keyword in {"anyOf", "oneOf", "allOf"}:
            for below in item:
                yield from _nodes(below)
        elif keyword in {"items", "additionalProperties"} and isinstance(item, dict):
            yield from _nodes(item)


def _patterns(schema: Any) -> set[str]:
    nodes = list(_nodes(schema))
    own = {node["pattern"] for node in nodes if "pattern" in node}
    return own | {pattern for node in nodes for pattern in node.get("patternProperties", ())}


def _texts(value: Any) -> Iterator[str]:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(item)
    if isinstance(value, str):
        yield value
