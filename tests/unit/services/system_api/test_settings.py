"""The settings of the system layer, and their documentation for upstream owners."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from services.system_api.settings import SystemSettings
from services.system_api.sources.file.format_options import (
    CsvOptions,
    ExcelOptions,
    FixedOptions,
    TextOptions,
    XmlOptions,
    ZipOptions,
)
from services.system_api.sources.file.options import DropOptions, FileSourceOptions
from services.system_api.sources.file.remote_options import RemoteOptions
from services.system_api.sources.http.polling.options import (
    ByCursorOptions,
    BySnapshotOptions,
    ByTimeOptions,
    HttpSourceOptions,
)
from services.system_api.sources.http.received.options import ReceivedOptions
from services.system_api.sources.http.streaming.options import SseSourceOptions, WebSocketSourceOptions
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.source import SourceOptions
from services.system_api.sources.table.options import TableSourceOptions
from shared.http.client.options import ClientOptions
from shared.settings import load

DOCS = Path(__file__).parents[4] / "docs"
PAGES = [page.read_text() for page in [DOCS / "upstream-owners.md", *sorted((DOCS / "sources").glob("*.md"))]]
SNIPPETS = [snippet for page in PAGES for snippet in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_example_of_the_documentation_is_valid_and_has_a_channel(
    snippet: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in re.findall(r"\$\{([A-Z_]+)\}", snippet):
        monkeypatch.setenv(variable, "secret")
    path = tmp_path / "trelay.yaml"
    path.write_text(snippet)
    (source,) = load(path, SystemSettings).system.sources.values()
    assert source.channel is not None


def settings_of(model: type[BaseModel], prefix: str = "", *, without: type[BaseModel] | None = None) -> Iterator[str]:
    inherited = set() if without is None else without.model_fields.keys()
    yield from (f"{prefix}{name}" for name in model.model_fields.keys() - inherited)


def settings_of_streams() -> set[str]:
    return {
        name for kind in (SseSourceOptions, WebSocketSourceOptions) for name in settings_of(kind, without=SourceOptions)
    }


SECTIONS: dict[str, type[BaseModel]] = {
    "csv": CsvOptions,
    "text": TextOptions,
    "fixed": FixedOptions,
    "xml": XmlOptions,
    "excel": ExcelOptions,
    "zip": ZipOptions,
    "drop": DropOptions,
    "remote": RemoteOptions,
}
"""The sections in the settings of a file source."""


def test_the_documentation_lists_every_setting_of_a_source_and_no_other() -> None:
    reference = "".join(page.partition("## Reference: settings")[2].partition("\n## ")[0] for page in PAGES)
    documented = re.findall(r"^\| `([a-z_.]+)` \|", reference, re.MULTILINE)
    expected = [
        *settings_of(SourceOptions),
        *settings_of(TableSourceOptions, without=SourceOptions),
        *(name for name in settings_of(FileSourceOptions, without=SourceOptions) if name not in SECTIONS),
        *(name for section, options in SECTIONS.items() for name in settings_of(options, f"{section}.")),
        *settings_of(HttpSourceOptions, without=SourceOptions),
        *(
            name
            for kind in (ByTimeOptions, BySnapshotOptions, ByCursorOptions)
            for name in settings_of(kind, "changes.")
        ),
        "interval",  # whose default is another one for HTTP
        *settings_of(WebhookSourceOptions, without=SourceOptions),
        "verify.tolerance",
        *(settings_of_streams() - ClientOptions.model_fields.keys() - ReceivedOptions.model_fields.keys()),
    ]
    # Each kind declares its name; the page lists `kind` once, and `changes.kind` in the title of its table.
    expected = [name for name in expected if name not in {"kind", "changes.kind"}] + ["kind"]
    assert sorted(documented) == sorted(expected)


def test_direct_delivery_needs_a_channel_for_every_source() -> None:
    source = {"kind": "file", "path": "a.ndjson", "type": "t", "subject": "id"}
    given = {"deliver": {"url": "https://relay/entity"}, "sources": {"a": source | {"channel": "c"}, "b": source}}
    with pytest.raises(ValueError, match="source 'b' needs a channel"):
        SystemSettings.model_validate({"system": given})
    given["sources"] = {"a": source | {"channel": "c"}}
    assert SystemSettings.model_validate({"system": given}).system.deliver is not None


def test_the_settings_may_name_the_replica() -> None:
    assert SystemSettings().node is None
    assert SystemSettings.model_validate({"system": {"node": "system-0"}}).node == "system-0"
