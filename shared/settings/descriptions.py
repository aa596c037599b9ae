"""The descriptions of settings: the docstrings below the fields of their models.

They are read when something shows them. Pydantic's `use_attribute_docstrings` reads them while it defines each class,
which took a third of the time in which a service starts.
"""

import ast
import functools
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from itertools import pairwise

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema


class WithDescriptions(GenerateJsonSchema):
    """Generates the JSON Schema of models with the descriptions of their fields: `model_json_schema` takes it."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return the schema of one model."""
        shown = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        properties = shown.get("properties", {})
        for name, text in descriptions(model).items():
            properties.get(model.model_fields[name].alias or name, {}).setdefault("description", text)
        return shown


@functools.lru_cache(maxsize=1024)
def descriptions(model: type[BaseModel]) -> Mapping[str, str]:
    """Return the description of each field that has one, by the name of the field.

    A field that a class declares again, without a docstring, has none.
    """
    found: dict[str, str] = {}
    for cls in reversed(model.__mro__):
        if issubclass(cls, BaseModel) and cls is not BaseModel:
            for name in cls.__annotations__:
                found.pop(name, None)
            found.update(_docstrings(cls))
    explicit = {name: field.description for name, field in model.model_fields.items() if field.description}
    return {name: text for name, text in (found | explicit).items() if name in model.model_fields}


def _docstrings(cls: type[BaseModel]) -> Iterator[tuple[str, str]]:
    definition = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(definition, ast.ClassDef)
    for field, text in pairwise(definition.body):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(docstring))):
                yield name, inspect.cleandoc(docstring)
            case _:
                pass
