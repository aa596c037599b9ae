"""From the file to a validated model, or to every fault of the file at once."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from shared.errors import SettingsError
from shared.settings import document, explain
from shared.settings.document import Document, Fault, KeyPath
from shared.settings.environment import Expansion
from shared.settings.findings import Finding
from shared.settings.schema import Keys
from shared.settings.suggestions import keys_around, unknown_key

SECTIONS = ("database", "bus", "alerts", "logs", "telemetry", "reload", "system", "process", "experience")
"""The top-level keys of the file. A model declares those that it needs; other services read the others."""

_SIZE_LIMIT = 1_048_576

Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Model]):
    """Settings, and where each of them stands."""

    settings: Model
    name: str
    """What errors call the file."""
    document: Document
    variables: Mapping[KeyPath, Sequence[str]] = field(default_factory=dict)
    """The variables of the environment whose values a text of the file holds, by its path."""

    @property
    def empty(self) -> bool:
        """Whether every section is empty or absent."""
        return not any(self.document.value.values())

    def lines(self, findings: Iterable[Finding], kind: str = "") -> list[str]:
        """Return findings as lines, `file:line:column: path.in.the.file: sentence`, in the order of the file.

        `kind` comes before the path: `warning: `, for example.
        """
        placed = [Fault(path, self.document.place(path), sentence) for path, sentence in findings]
        return [_line(self.name, fault, kind) for fault in sorted(placed, key=_order)]


def load(
    path: Path, model: type[Model], env: Mapping[str, str] = os.environ, *, files: set[Path] | None = None
) -> Model:
    """Read a settings file.

    `files` gets the file itself, and each file whose content belongs to the settings, such as that of a secret; also
    those that cannot be read.

    Raises:
        SettingsError: one line for each fault, `file:line:column: path.in.the.file: what is wrong`.
    """
    return load_placed(path, model, env, files=files).settings


def load_placed(
    path: Path, model: type[Model], env: Mapping[str, str] = os.environ, *, files: set[Path] | None = None
) -> Loaded[Model]:
    """Read a settings file, and know the place of each setting. `files` is as for `load`.

    Raises:
        SettingsError: as for `load`.
    """
    found: set[Path] = set() if files is None else files
    found.add(path)
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
    except OSError as exc:
        raise SettingsError(f"{path}: the settings file cannot be read: {exc.strerror}") from exc
    return parse_placed(content, model, env, name=str(path), folder=path.resolve().parent, files=found)


def parse_placed(
    content: bytes,
    model: type[Model],
    env: Mapping[str, str] = os.environ,
    *,
    name: str,
    folder: Path,
    files: set[Path] | None = None,
) -> Loaded[Model]:
    """Read the content of a settings file, as `load_placed` does.

    Raises:
        SettingsError: as for `load`.
    """
    if len(content) > _SIZE_LIMIT:
        raise SettingsError(f"{name}: the settings file is larger than {_SIZE_LIMIT} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise SettingsError(f"{name}:{line}: the settings file is not UTF-8 text") from exc
    return _parsed(text, model, env, name, {"folder": folder, "files": files})


def parse(
    text: str, model: type[Model], env: Mapping[str, str], *, name: str = "settings", folder: Path | None = None
) -> Model:
    """Read the text of a settings file; `name` stands for it in errors, and relative paths are below `folder`.

    Raises:
        SettingsError: as for `load`.
    """
    return _parsed(text, model, env, name, {"folder": folder}).settings


def _parsed(text: str, model: type[Model], env: Mapping[str, str], name: str, context: dict[str, Any]) -> Loaded[Model]:
    try:
        found = document.read(text)
    except SettingsError as exc:
        raise SettingsError(f"{name}:{exc}") from exc.__cause__
    if found.value is None:
        found.value = {}
    if not isinstance(found.value, dict):
        raise SettingsError(f"{name}:1:1: expected sections ({', '.join(SECTIONS)}) as keys at the top")
    keys = Keys(model)
    mine = _sections(found, keys)
    expansion = Expansion(found, env)
    found.value = {section: expansion.expand((section,), value) for section, value in mine.items()}
    settings = _validated(found, model, keys, expansion, context)
    if settings is None or found.faults:
        raise SettingsError("\n".join(_line(name, fault) for fault in sorted(found.faults, key=_order)))
    return Loaded(settings, name, found, expansion.variables)


def _sections(found: Document, keys: Keys) -> dict[str, Any]:
    """Return the sections that the model declares, and note the keys that are no section of any service."""
    known, below = keys_around(("",), found.value, keys)
    all_known = sorted({*known, *SECTIONS})
    for key in found.value:
        if key not in all_known:
            found.faults.append(Fault((key,), found.place((key,)), unknown_key(key, all_known, below)))
    # An empty section means the same as one that is absent.
    return {key: value for key, value in found.value.items() if key in known and value is not None}


def _validated(
    found: Document, model: type[Model], keys: Keys, expansion: Expansion, context: dict[str, Any]
) -> Model | None:
    settings = None
    refused: list[Fault] = []
    try:
        settings = model.model_validate(found.value, context=context)
    except ValidationError as exc:
        refused = explain.faults(exc, found, keys, expansion.touched)
    named = {fault.path for fault in refused} | expansion.unset
    mistyped = explain.mistyped(found, keys, expansion.references)
    found.faults.extend(fault for fault in refused if fault.path not in expansion.unset)
    found.faults.extend(fault for fault in mistyped if fault.path not in named)
    return settings


def _order(fault: Fault) -> tuple[int, int]:
    return (fault.place.line, fault.place.column)


def _line(name: str, fault: Fault, kind: str = "") -> str:
    said = str(Finding(fault.path, fault.sentence))
    # A key or a value may contain line breaks; each fault stays on one line.
    return f"{name}:{fault.place.line}:{fault.place.column}: {kind}{said}".translate(_ONE_LINE)


_ONE_LINE = {code: f"\\x{code:02x}" for code in (*range(32), 127, 0x85, 0x2028, 0x2029)}
