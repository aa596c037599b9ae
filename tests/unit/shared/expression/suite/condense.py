"""Writes the official test suite of JSONata to this folder, from a checkout of https://github.com/jsonata-js/jsonata:

`python -m tests.unit.shared.expression.suite.condense PATH/test/test-suite`
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CASES, DATASETS = FOLDER / "cases.ndjson", FOLDER / "datasets.json"
_KEPT = ("data", "dataset", "bindings", "result", "undefinedResult", "unordered")


def condensed(suite: Path) -> Iterator[dict[str, Any]]:
    """Yield each case: its name, its expression, its input, and what it expects."""
    for file in sorted(suite.glob("groups/*/*.json")):
        found = json.loads(file.read_text())
        for number, case in enumerate(found if isinstance(found, list) else [found]):
            place = f"{file.parent.name}/{file.stem}"
            text = case["expr"] if "expr" in case else (file.parent / case["expr-file"]).read_text()
            kept: dict[str, Any] = {"name": f"{place}/{number}" if isinstance(found, list) else place, "expr": text}
            kept |= {name: case[name] for name in _KEPT if case.get(name) or name in {"data", "result"} & case.keys()}
            if "code" in case or "error" in case:
                kept["error"] = case.get("code") or case["error"]["code"]
            yield kept


def write(suite: Path) -> None:
    """Write the cases, one a line, and the datasets."""
    CASES.write_text("".join(f"{json.dumps(case)}\n" for case in condensed(suite)))
    datasets = {file.stem: json.loads(file.read_text()) for file in sorted(suite.glob("datasets/*.json"))}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(data)}" for name, data in datasets.items())
    DATASETS.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
