"""The drivers of databases, which extras install."""

import random
from typing import Any

import pytest

from services.system_api.sources.table.opening import kind as module
from services.system_api.sources.table.opening.kind import TableSourceKind
from shared.errors import SettingsError
from shared.runtime.clock import SYSTEM_CLOCK


@pytest.mark.parametrize(
    ("url", "error", "said"),
    [
        (
            "mssql://db/a",
            ModuleNotFoundError("x", name="aioodbc"),
            r"mssql needs the package 'aioodbc', .*trelay\[mssql\]",
        ),
        ("oracle://db/a", ModuleNotFoundError("x", name="oracledb"), r"oracle needs the package .*trelay\[oracle\]"),
        ("mariadb://db/a", ModuleNotFoundError("x", name="asyncmy"), r"mariadb needs the package .*trelay\[mysql\]"),
        ("mssql://db/a", ImportError("libodbc.so.2"), r"cannot be imported: libodbc\.so\.2; install unixODBC"),
    ],
    ids=["mssql", "oracle", "mysql", "unixODBC"],
)
def test_a_driver_that_is_missing_is_named_with_what_installs_it(
    monkeypatch: pytest.MonkeyPatch, url: str, error: ImportError, said: str
) -> None:
    def import_module(name: str) -> Any:
        raise error

    monkeypatch.setattr(module, "import_module", import_module)
    options = TableSourceKind.model_validate({"kind": "table", "url": url, "table": "t", "type": "t", "overlap": 5})
    with pytest.raises(SettingsError, match=rf"system\.sources\.s\.url.*{said}"):
        options.opener("s", SYSTEM_CLOCK, random.Random(1))
