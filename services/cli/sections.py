"""All sections of the file in one model: what each service reads, composed."""

from collections.abc import Iterable
from typing import Any

from pydantic import create_model

from shared.settings import Options


def whole(models: Iterable[type[Options]], own: Iterable[str]) -> type[Options]:
    """Compose the settings of several services; a section of a service alone (`own`) need not be in the file."""
    fields: dict[str, Any] = {}
    for model in models:
        for name, field in model.model_fields.items():
            annotation: Any = field.annotation
            fields[name] = (annotation | None, None) if name in own else (annotation, field)
    return create_model("Trelay", __base__=Options, **fields)
