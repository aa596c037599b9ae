"""The settings file: one YAML file, of which each service validates its sections and names every fault with its place.

    settings = load(Path("trelay.yaml"), SystemSettings)

The file's language:

- `${NAME}` and `${NAME:-default}` in any text come from the environment; `$${` writes a literal `${`. The value is
  inserted after the YAML is parsed, so that it cannot change the structure of the file.
- A secret (a field of type `Secret`) is text, usually `${NAME}`, or `{file: /run/secrets/name}`.
- Relative paths (fields of type `RelativePath`) are relative to the file.
- Scalars are read by the YAML 1.2 core schema: `no` is text, `010` is ten. A key that is written twice is an error.
"""

from shared.settings.descriptions import WithDescriptions, descriptions
from shared.settings.document import KeyPath
from shared.settings.fields import (
    Checked,
    EventType,
    FileSecret,
    FollowedSecret,
    Form,
    Name,
    Options,
    RelativePath,
    Secret,
    beside_file,
    file_read,
)
from shared.settings.findings import Finding, parts
from shared.settings.loading import SECTIONS, Loaded, load, load_placed, parse, parse_placed
from shared.settings.schema import json_schema

__all__ = [
    "SECTIONS",
    "Checked",
    "EventType",
    "FileSecret",
    "Finding",
    "FollowedSecret",
    "Form",
    "KeyPath",
    "Loaded",
    "Name",
    "Options",
    "RelativePath",
    "Secret",
    "WithDescriptions",
    "beside_file",
    "descriptions",
    "file_read",
    "json_schema",
    "load",
    "load_placed",
    "parse",
    "parse_placed",
    "parts",
]
