"""What the pages name exists: links, headings, settings, metrics, and variables of the environment."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from services.experience_api import app as experience
from services.experience_api.latest.options import LatestOptions
from services.experience_api.registry import stored_clients
from services.standalone.settings import WholeSettings
from services.system_api.operations.postgres import PostgresSourceStore
from services.system_api.sources.http.webhook.inbox.postgres import PostgresInbox
from shared.bus.postgres.options import PostgresBusOptions
from shared.database.options import DatabaseOptions
from shared.lease.postgres import PostgresLeaseStore
from shared.settings import json_schema

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md"),  # it also names what there was
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / "clients" / language / "README.md" for language in ("python", "javascript")),
    ROOT / "tests" / "README.md",
]
SOURCES = [
    path for folder in ("services", "shared", "clients/python", "tests") for path in (ROOT / folder).rglob("*.py")
]
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"```.*?```", re.DOTALL)
_FILES = {"yaml", "yml", "json", "md", "py", "ndjson", "csv", "pem", "conf", "log", "com", "io"}


def names(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    return _CODE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    texts = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", text).strip().replace(" ", "-") for text in texts}


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


Schema = Mapping[str, Any]


def alternatives(schema: Schema, definitions: Mapping[str, Schema]) -> Iterator[Schema]:
    """The objects that a schema may mean: itself, what it refers to, and its alternatives."""
    yield schema
    if "$ref" in schema:
        yield from alternatives(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    for keyword in ("anyOf", "oneOf", "allOf"):
        for each in schema.get(keyword, ()):
            yield from alternatives(each, definitions)


def below(schema: Schema, key: str, definitions: Mapping[str, Schema]) -> Iterator[Schema]:
    """The schemas of a key; of any key, where the mapping takes names."""
    for each in alternatives(schema, definitions):
        if key in each.get("properties", {}):
            yield each["properties"][key]
            continue
        yield from (value for value in each.get("patternProperties", {}).values() if isinstance(value, dict))
        if isinstance(each.get("additionalProperties"), dict):
            yield each["additionalProperties"]
        if isinstance(each.get("items"), dict):
            yield from below(each["items"], key, definitions)


def test_settings_exist() -> None:
    schema = json_schema(WholeSettings)
    definitions, unknown = schema["$defs"], []
    for page in PAGES:
        for path in re.findall(r"`([a-z_]+(?:\.[a-zA-Z_]+)+)(?:: [^`]*)?`", prose(page)):
            keys = path.split(".")
            if keys[0] not in schema["properties"] or keys[-1] in _FILES:
                continue
            found: list[Schema] = [schema]
            for key in keys:
                found = [inner for outer in found for inner in below(outer, key, definitions)]
            if not found:
                unknown.append((names(page), path))
    assert unknown == []


def words() -> set[str]:
    """The texts of the code that could be a name."""
    return {
        node.value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.fullmatch(r"\w{4,60}", node.value)
    }


def test_metrics_and_variables_exist() -> None:
    known, unknown = words(), []
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for metric in re.findall(r"`(trelay_[a-z0-9_]*[a-z0-9])\b", prose(page)):
            # Many are made of a prefix, which their module adds, and a name that stands in it.
            parts = re.sub(r"_(bucket|sum|count|total)$", "", metric).split("_")
            ends = {"_".join(parts[number:]) for number in range(len(parts))}
            if not known & (ends | {f"{end}_total" for end in ends}):
                unknown.append((names(page), metric))
        variables = set(re.findall(r"\bTRELAY_[A-Z0-9_]*[A-Z0-9]\b", page.read_text()))
        unknown += [(names(page), each) for each in sorted(variables) if each not in known and each not in makefile]
    assert unknown == []


def test_connections_of_the_database_are_those_of_the_pools() -> None:
    database, bus = DatabaseOptions(), PostgresBusOptions()
    listener, readers = 1, LatestOptions.model_fields["readers"].default
    expected = {
        "registrations": database.pool_size,
        "claims of connections, and their notifications": stored_clients._POOL_SIZE + listener,
        "idempotency keys": experience._KEY_CONNECTIONS,
        "presence": 1,
        "snapshots": readers + 1,
        "leases and their notifications": PostgresLeaseStore.CONNECTIONS + listener,
        "what operators ask of sources, and their status": PostgresSourceStore.CONNECTIONS + listener,
        "webhooks, and their notifications": PostgresInbox.CONNECTIONS + listener,
        "the bus: writing": bus.writing_connections,
        "the bus: reading": bus.reading_connections,
        "the bus: topics, groups, leases, notifications": 2 + 1 + listener,
    }
    page = (ROOT / "docs" / "postgresql.md").read_text()
    table = page.partition("**Connections.**")[2].partition("\n\n`pg_stat_activity`")[0]
    assert {name: int(count) for name, count in re.findall(r"^\| ([^|]+) \| (\d+) \|", table, re.MULTILINE)} == expected
    plain = {"registrations", "claims of connections, and their notifications", "idempotency keys"}
    replica = sum(expected[name] for name in plain) + expected["leases and their notifications"]
    assert f"opens up to {replica}, with presence and snapshots {replica + 1 + readers + 1}" in table
    assert f"[{replica} for each replica]" in (ROOT / "docs" / "operations" / "capacity.md").read_text()
