"""Types for the fields of options: secrets, paths beside the file, and the class that options derive from."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from shared.errors import Malformed

_SECRET_LIMIT = 65_536

FORM_MISMATCH: Final = "form_mismatch"
"""The type of the error that a `Form` raises."""


class Options(BaseModel):
    """The settings of one part: immutable, without unknown keys; the docstrings of its fields describe them."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _over_the_defaults(cls, given: Any) -> Any:
        """Fill the keys that a part does not set from its default in this place, not from the defaults of its class.

        Otherwise `listen: ListenOptions = ListenOptions(port=8081)` had port 8080 where the file sets the host alone.
        """
        if not isinstance(given, dict):
            return given
        return given | {
            name: _laid_over(field.default.model_dump(exclude_unset=True), given[name])
            for name, field in cls.model_fields.items()
            if isinstance(field.default, Options) and type(field.default) is field.annotation and name in given
        }


def _laid_over(default: Any, given: Any) -> Any:
    if not isinstance(default, dict) or not isinstance(given, dict):
        return given
    return default | {key: _laid_over(default.get(key), value) for key, value in given.items()}


def beside_file(path: str | Path, info: ValidationInfo) -> Path:
    """Return a path relative to the folder of the settings file; unchanged if the settings are not from a file.

    For validators of fields that are not plain paths, such as a glob or a URL that may name a local file.
    """
    folder = (info.context or {}).get("folder")
    return Path(path) if folder is None else Path(folder) / path


def file_read(path: str | Path, info: ValidationInfo) -> Path:
    """Do what `beside_file` does, and note that the content of the file belongs to the settings: `load` returns it.

    Call it before the file is read, also where that may fail.
    """
    found = beside_file(path, info)
    files = (info.context or {}).get("files")
    if files is not None:
        files.add(found)
    return found


class Form:
    """Beside `str` in an annotation: text that a pattern describes, with words for people.

    `expected` completes the sentence `expected …`: 'a name of lower-case letters'.
    """

    def __init__(self, pattern: str, expected: str) -> None:
        self._pattern = pattern
        self._expected = expected
        self._matches = re.compile(pattern).fullmatch

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the text after what the type itself checks."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let editors know the pattern."""
        return {**handler(schema), "pattern": self._pattern}

    def _check(self, text: str) -> str:
        if self._matches(text) is None:
            raise PydanticCustomError(FORM_MISMATCH, "expected {expected}", {"expected": self._expected})
        return text


class Checked:
    """Beside `str` in an annotation: text that a function checks, which returns it or raises `Malformed`.

    Editors know the pattern that it has, and the maximum number of characters.
    """

    def __init__(self, check: Callable[[str], str], pattern: str, limit: int) -> None:
        self._check_text = check
        self._described = {"pattern": pattern, "maxLength": limit}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Check the text after what the type itself checks."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Let editors know the pattern and the limit."""
        return {**handler(schema), **self._described}

    def _check(self, text: str) -> str:
        try:
            return self._check_text(text)
        except Malformed as exc:
            raise ValueError(str(exc)) from exc


Name = Annotated[
    str,
    Form(
        r"^[a-z0-9][a-z0-9._-]{0,62}$",
        "a name of at most 63 lower-case letters, digits, '.', '_' and '-', beginning with a letter or a digit",
    ),
]
"""What the operator calls a thing, where the name becomes part of ids, keys and metrics."""

EventType = Annotated[
    str, Form(r"^(?!trelay\.)[\s\S]*$", "a type that does not begin with 'trelay.', which is reserved for Trelay")
]
"""The CloudEvents attribute `type` of events that the operator names."""

RelativePath = Annotated[Path, AfterValidator(beside_file)]
"""A path; a relative one is relative to the settings file."""


def _read_secret(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, Mapping):
        path = value.get("file")
        if not isinstance(path, str) or len(value) != 1:
            raise ValueError("expected text, '${NAME}' from the environment, or {file: /run/secrets/name}")
        value = _read(file_read(path, info))
    if value == "":
        raise ValueError("the secret is empty")
    return value


def _keep_file(value: Any, info: ValidationInfo) -> Any:
    found = _read_secret(value, info)
    return FileSecret(found, beside_file(value["file"], info)) if isinstance(value, Mapping) else found


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_SECRET_LIMIT + 1)
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "no valid path"
        raise ValueError(f"the secret's file {str(path)!r} cannot be read: {reason}") from None
    if len(content) > _SECRET_LIMIT:
        raise ValueError(f"the secret's file {str(path)!r} is larger than {_SECRET_LIMIT} bytes")
    try:
        # Editors and `echo` end a file with a newline, which is not part of the secret.
        return content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError(f"the secret's file {str(path)!r} is not UTF-8 text") from None


class FileSecret(SecretStr):
    """The secret of a file that may change while the process runs. Two of them are equal if their file is the same."""

    def __init__(self, value: str, path: Path) -> None:
        """`value` is what the file held."""
        super().__init__(value)
        self.path = path

    def read(self) -> str:
        """Read the file again. Blocks.

        Raises:
            ValueError: the file holds no secret.
        """
        if found := _read(self.path):
            return found
        raise ValueError(f"the secret's file {str(self.path)!r} is empty")

    def __eq__(self, other: object) -> bool:
        """Compare the paths."""
        return isinstance(other, FileSecret) and self.path == other.path

    def __hash__(self) -> int:
        """Hash the path."""
        return hash(self.path)


_SECRET_SCHEMA: Final = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "minLength": 1, "format": "password"},
            {
                "type": "object",
                "properties": {"file": {"type": "string", "description": "The file that holds the secret."}},
                "required": ["file"],
                "additionalProperties": False,
            },
        ],
        "writeOnly": True,
    }
)

Secret = Annotated[SecretStr, BeforeValidator(_read_secret), _SECRET_SCHEMA]
"""Text that is never shown: written directly, as `${NAME}`, or as `{file: /run/secrets/name}`."""

FollowedSecret = Annotated[SecretStr, BeforeValidator(_keep_file), _SECRET_SCHEMA]
"""A `Secret` that its user reads again when it needs it: a `FileSecret` where it is in a file."""
