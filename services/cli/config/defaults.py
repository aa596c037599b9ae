"""The settings file of all defaults, with the description of each setting. No I/O."""

import re
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from services.cli.config.origins import scalar
from shared.settings import descriptions

_WIDTH = 100
_HEAD = """\
# All settings of Trelay with their defaults. A setting behind a `#` without a space has no default value: it is off, or
# has to be given. A file needs only what differs from this one.
"""


def lines(model: type[BaseModel]) -> Iterator[str]:
    """Yield the lines of the file."""
    yield from _HEAD.splitlines()
    for name, field in model.model_fields.items():
        yield ""
        yield from _described(model, name, "")
        yield from _field(name, field, field.get_default(call_default_factory=True), "")


def _fields(model: type[BaseModel], value: BaseModel | None, indent: str) -> Iterator[str]:
    """Yield the settings of a part; without a value of it, those of its class."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True) if value is None else getattr(value, name)
        yield from _described(model, name, indent)
        yield from _field(field.alias or name, field, default, indent)


def _field(name: str, field: FieldInfo, value: Any, indent: str) -> Iterator[str]:
    off = indent if "#" in indent else f"{indent}#"
    if isinstance(value, BaseModel):
        inner = list(_fields(type(value), value, f"{indent}  "))
        if all(line.lstrip().startswith("#") for line in inner):
            yield f"{off}{name}:"
            yield from _fields(type(value), value, f"{off}  ")
        else:
            yield f"{indent}{name}:"
            yield from inner
    elif value is None or value is PydanticUndefined:
        part = _model(field.annotation)
        yield f"{off}{name}:{'' if part is not None else ' …'}"
        if part is not None:
            yield from _fields(part, None, f"{off}  ")
    else:
        yield f"{indent}{name}: {scalar(to_jsonable_python(value, fallback=str))}"


def _model(annotation: Any) -> type[BaseModel] | None:
    """Return the class of a part that may be absent; None for another type, or for several classes."""
    found = [each for each in get_args(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    return found[0] if len(found) == 1 else None


def _described(model: type[BaseModel], name: str, indent: str) -> Iterator[str]:
    plain = re.sub(r"\s+", " ", descriptions(model).get(name, "")).strip()
    mark = f"{indent}# "
    yield from (f"{mark}{line}" for line in textwrap.wrap(plain, _WIDTH - len(mark), break_on_hyphens=False))
