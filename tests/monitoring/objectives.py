"""The objectives of Trelay as rules of Prometheus: error ratios over several windows, and alerts on burn rates.

Source: the Site Reliability Workbook, chapter "Alerting on SLOs", table 5-8. Decides without I/O.
"""

from dataclasses import dataclass
from typing import Any

Rule = dict[str, Any]

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
_BURNS = (
    ("critical", ((14.4, "1h", "5m"), (6, "6h", "30m"))),
    ("warning", ((3, "1d", "2h"), (1, "3d", "6h"))),
)
"""By severity: the burn rate, the long window that shows it, and the short one that shows whether it continues."""

_SPENT = "The error budget of 30 days ({:.2%}) is used up too fast."


@dataclass(frozen=True)
class Objective:
    """One objective: the share of events that may be bad within 30 days."""

    name: str
    alert: str
    budget: float
    ratio: str
    """PromQL of the share of bad events; `WINDOW` stands for the window."""
    by: str
    """The label that the ratio keeps; empty for none."""
    summary: str
    description: str
    runbook: str
    prepare: tuple[Rule, ...] = ()
    """Rules that the ratio needs."""

    def record(self, window: str) -> str:
        """Return the name of the series with the ratio over a window."""
        return f"trelay:{self.name}_errors:ratio_rate{window}"

    def group(self) -> Rule:
        """Return the rules of this objective."""
        records = [{"record": self.record(window), "expr": self.ratio.replace("WINDOW", window)} for window in WINDOWS]
        alerts = [self._alert(severity, burns) for severity, burns in _BURNS]
        return {"name": f"trelay-{self.name.replace('_', '-')}-objective", "rules": [*self.prepare, *records, *alerts]}

    def _alert(self, severity: str, burns: tuple[tuple[float, str, str], ...]) -> Rule:
        terms = [
            f"({self.record(long)} > {rate * self.budget:.6g} and {self.record(short)} > {rate * self.budget:.6g})"
            for rate, long, short in burns
        ]
        return {
            "alert": self.alert,
            "expr": " or ".join(terms),
            "for": "2m" if severity == "critical" else "15m",
            "labels": {"severity": severity, "objective": self.name},
            "annotations": {
                "summary": self.summary,
                "description": f"{self.description} {_SPENT.format(self.budget)}",
                "runbook": self.runbook,
            },
        }


_CAUGHT_UP = "max by (source) (trelay_system_caught_up_timestamp_seconds)"
_PAUSED = 'max by (source) (trelay_system_source_state{state="paused"}) == 1'
_FAILED_REQUESTS = 'sum(rate(trelay_experience_{name}_total{outcome=~"busy|unavailable"}[WINDOW]))'
_REQUESTS = "sum(rate(trelay_experience_{name}_total[WINDOW]))"
_ENDPOINTS = ("handshakes", "registrations", "tickets", "pushes")
_FAILED_ENDINGS = 'sum(rate(trelay_experience_endings_total{reason=~"claim_lost|internal_error|unavailable"}[WINDOW]))'


def _sum(pattern: str, *more: str) -> str:
    return " + ".join([*(pattern.replace("{name}", name) for name in _ENDPOINTS), *more])


def _total(*names: str) -> str:
    """Add the rates of counters; a layer without sources or pipelines has no series, which counts as 0."""
    return " + ".join(f"(sum(rate({name}[WINDOW])) or vector(0))" for name in names)


_DEAD = _total("trelay_system_rejects_total", "trelay_process_rejects_total", "trelay_process_unclaimed_total")
_READ = _total("trelay_system_events_published_total", "trelay_system_rejects_total")

_WAITING = "sum(trelay_process_lag_records)"
_TAKEN = _total("trelay_process_events_taken_total", "trelay_pipeline_continued_total").replace("WINDOW", "5m")

OBJECTIVES = (
    Objective(
        name="freshness",
        alert="TrelayFreshnessBudgetBurn",
        budget=0.01,
        ratio="1 - avg_over_time(trelay:source_fresh:bool[WINDOW])",
        by="source",
        summary="Source {{ $labels.source }} is not fresh",
        description="Changes of the upstream were not published within a minute after the poll that was due.",
        runbook="docs/runbooks/objectives.md#trelayfreshnessbudgetburn",
        prepare=(
            {"record": "trelay:source_lag:seconds", "expr": f"time() - ({_CAUGHT_UP} > 0)"},
            {
                # Two intervals: one poll may be in progress. A source that never caught up is not fresh.
                "record": "trelay:source_fresh:bool",
                "expr": f"(time() - {_CAUGHT_UP} <= bool"
                f" 60 + 2 * max by (source) (trelay_system_poll_interval_seconds)) unless ({_PAUSED})",
            },
        ),
    ),
    Objective(
        name="delivery",
        alert="TrelayDeliveryBudgetBurn",
        budget=0.01,
        ratio='1 - sum(rate(trelay_experience_delay_seconds_bucket{le="1.0"}[WINDOW]))'
        " / sum(rate(trelay_experience_delay_seconds_count[WINDOW]))",
        by="",
        summary="Events reach subscribers late",
        description="Events were written to connections more than a second after Trelay held them.",
        runbook="docs/runbooks/objectives.md#trelaydeliverybudgetburn",
    ),
    Objective(
        name="lag",
        alert="TrelayProcessLagBudgetBurn",
        budget=0.01,
        ratio="avg_over_time(trelay:process_behind:bool[WINDOW])",
        by="",
        summary="The process layer is behind",
        description="The records that wait on the ingest topic were more than the process layer reads in a minute.",
        runbook="docs/runbooks/objectives.md#trelayprocesslagbudgetburn",
        prepare=(
            {"record": "trelay:process_lag:seconds", "expr": f"{_WAITING} / ({_TAKEN})"},
            {
                # The floor is for Kafka, where the markers of transactions count as records that wait.
                "record": "trelay:process_behind:bool",
                "expr": f"({_WAITING} > bool 1000) * ({_WAITING} > bool 60 * ({_TAKEN}))",
            },
        ),
    ),
    Objective(
        name="connections",
        alert="TrelayConnectionsBudgetBurn",
        budget=0.001,
        ratio=f"({_sum(_FAILED_REQUESTS, _FAILED_ENDINGS)}) / ({_sum(_REQUESTS)})",
        by="",
        summary="Trelay refuses or ends connections by a fault of its own",
        description="Requests were answered with 503, or connections ended with claim lost, internal error or"
        " unavailable.",
        runbook="docs/runbooks/objectives.md#trelayconnectionsbudgetburn",
    ),
    Objective(
        name="retries",
        alert="TrelayRetriesBudgetBurn",
        budget=0.05,
        ratio="sum by (source) (rate(trelay_system_retries_total[WINDOW]))"
        " / (sum by (source) (rate(trelay_system_retries_total[WINDOW]))"
        " + sum by (source) (rate(trelay_system_polls_total[WINDOW])))",
        by="source",
        summary="Source {{ $labels.source }} needs many retries",
        description="Attempts to read the upstream failed because it did not answer, and were repeated.",
        runbook="docs/runbooks/objectives.md#trelayretriesbudgetburn",
    ),
    Objective(
        name="dead_letters",
        alert="TrelayDeadLettersBudgetBurn",
        budget=0.001,
        ratio=f"({_DEAD}) / ({_READ})",
        by="",
        summary="Too many records become dead letters",
        description="Records that cannot be published are kept on the topic of dead letters.",
        runbook="docs/runbooks/objectives.md#trelaydeadlettersbudgetburn",
    ),
)
