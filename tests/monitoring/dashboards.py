"""Writes the dashboards of Grafana to each place that ships them: `python -m tests.monitoring.dashboards`."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.k8s.rendering import MANIFESTS, ROOT
from tests.monitoring.panels import OWNERS, PLATFORM, SUBSCRIBERS, Panel

_FOLDERS = (MANIFESTS / "components" / "dashboards", ROOT / "deploy" / "helm" / "trelay" / "files" / "dashboards")
_WIDTH = 24
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Dashboard:
    """One dashboard, for one kind of user."""

    uid: str
    title: str
    description: str
    panels: tuple[Panel, ...]
    by_source: bool = False
    """Whether a variable chooses the sources."""

    def model(self) -> dict[str, Any]:
        """Return the JSON model of Grafana."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["trelay"],
            "schemaVersion": 39,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "timezone": "utc",
            "templating": {"list": list(self._variables())},
            "panels": list(self._placed()),
        }

    def _variables(self) -> Iterator[dict[str, Any]]:
        yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "refresh": 1}
        if self.by_source:
            yield {
                "name": "source",
                "label": "Source",
                "type": "query",
                "datasource": _DATASOURCE,
                "query": {"query": "label_values(trelay_system_source_state, source)", "refId": "source"},
                "refresh": 2,
                "includeAll": True,
                "multi": True,
                "allValue": ".+",
                "current": {"text": "All", "value": "$__all"},
            }

    def _placed(self) -> Iterator[dict[str, Any]]:
        x = y = height = 0
        for number, panel in enumerate(self.panels, 1):
            if x + panel.width > _WIDTH:
                x, y, height = 0, y + height, 0
            yield _model(panel, number, x, y)
            x, height = x + panel.width, max(height, panel.height)


def _model(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "expr": expr, "legendFormat": legend, "datasource": _DATASOURCE}
            for index, (expr, legend) in enumerate(panel.queries)
        ],
    }


DASHBOARDS = (
    Dashboard("trelay-platform", "Trelay: platform", "For platform teams: objectives, replicas, the path of events.",
              PLATFORM),
    Dashboard("trelay-subscribers", "Trelay: subscribers", "Connections: how they begin, what they get, how they end.",
              SUBSCRIBERS),
    Dashboard("trelay-owners", "Trelay: upstream owners", "What Trelay reads of each source, and how.",
              OWNERS, by_source=True),
)  # fmt: skip


def files() -> dict[Path, str]:
    """Return the content of each file."""
    return {
        folder / f"{dashboard.uid}.json": json.dumps(dashboard.model(), indent=1) + "\n"
        for folder in _FOLDERS
        for dashboard in DASHBOARDS
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
