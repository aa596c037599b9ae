"""The panels of the dashboards, with their queries in PromQL. Decides without I/O."""

from dataclasses import dataclass

_RATE = "[$__rate_interval]"
_SOURCE = 'source=~"$source"'


@dataclass(frozen=True)
class Panel:
    """One panel."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    """PromQL, and the name of its series."""
    description: str = ""
    kind: str = "timeseries"
    width: int = 8
    height: int = 8


def _stat(title: str, unit: str, expr: str, description: str = "") -> Panel:
    return Panel(title, unit, ((expr, ""),), description, kind="stat", width=4, height=4)


def _rate(name: str, by: str = "", matchers: str = "") -> str:
    selected = f"{name}{{{matchers}}}" if matchers else name
    return f"sum{f' by ({by})' if by else ''} (rate({selected}{_RATE}))"


def _quantile(share: float, name: str, by: str = "", matchers: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    selected = f"{name}_bucket{{{matchers}}}" if matchers else f"{name}_bucket"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({selected}{_RATE})))"


def _of_trelay(name: str) -> str:
    return f"{name} * on (job, instance) group_left (service) trelay_build_info"


_SHARES = (0.5, 0.95, 0.99)
_OBJECTIVES = ("freshness", "delivery", "lag", "connections", "dead_letters")

PLATFORM = (
    _stat("Ready replicas", "none", "sum(trelay_ready)"),
    _stat("Connections", "none", "sum(trelay_experience_connections)"),
    _stat("Sources not running", "none",
          'count(max by (source) (trelay_system_source_state{state=~"down|retrying|degraded|blocked"}) == 1)'
          " or vector(0)"),
    _stat("Records that wait", "none", "sum(trelay_process_lag_records)", "In the ingest topic."),
    _stat("Dead letters in 24 h", "none",
          "(sum(increase(trelay_system_rejects_total[24h])) or vector(0))"
          " + (sum(increase(trelay_process_rejects_total[24h])) or vector(0))"
          " + (sum(increase(trelay_process_unclaimed_total[24h])) or vector(0))"),
    _stat("Unaccounted rows", "none", "sum(abs(trelay_source_unaccounted_rows)) or vector(0)", "Always 0, or a bug."),
    Panel("Error ratio of each objective, 1 h", "percentunit",
          tuple((f"max(trelay:{name}_errors:ratio_rate1h)", name) for name in _OBJECTIVES),
          "Above the budget for long, alerts fire. Needs the rules of deploy/prometheus."),
    Panel("Events on their way", "eps",
          ((_rate("trelay_system_events_published_total"), "published by sources"),
           (_rate("trelay_process_events_taken_total"), "taken by pipelines"),
           (_rate("trelay_experience_events_total"), "read by replicas of the experience layer"),
           (_rate("trelay_experience_deliveries_total"), "delivered to connections"))),
    Panel("Delay until the frame is written", "s",
          tuple((_quantile(share, "trelay_experience_delay_seconds"), f"p{share * 100:g}") for share in _SHARES),
          "From when Trelay held an event first."),
    Panel("Commits, p99", "s",
          ((_quantile(0.99, "trelay_system_commit_seconds"), "system layer"),
           (_quantile(0.99, "trelay_process_commit_seconds"), "process layer"))),
    Panel("Records that wait, by partition", "none",
          (("sum by (partition) (trelay_process_lag_records)", "{{partition}}"),)),
    Panel("Steps, p99", "s",
          ((_quantile(0.99, "trelay_process_step_seconds", "pipeline, step"), "{{pipeline}} {{step}}"),)),
    Panel("Events between the parts of pipelines", "eps",
          ((_rate("trelay_pipeline_forwarded_total", "pipeline, part"), "{{pipeline}} to part {{part}}"),
           (_rate("trelay_pipeline_continued_total", "pipeline, part"), "{{pipeline}} taken by part {{part}}")),
          "Of pipelines that `repartition` divides. What is written and not taken waits in the ingest topic."),
    Panel("Pipelines that wait for another system", "s",
          ((_rate("trelay_pipeline_blocked_seconds_total", "pipeline, step"), "{{pipeline}} {{step}}"),),
          "Seconds a second for which partitions are held."),
    Panel("Dead letters", "eps",
          ((_rate("trelay_system_rejects_total", "source"), "source {{source}}"),
           (_rate("trelay_process_rejects_total", "pipeline"), "pipeline {{pipeline}}"),
           (_rate("trelay_process_unclaimed_total"), "of no pipeline"))),
    Panel("Parts that are not connected", "none",
          (("sum by (part) (1 - trelay_part_connected)", "{{part}}"),)),
    Panel("CPU", "percentunit",
          ((_of_trelay(f"rate(process_cpu_seconds_total{_RATE})"), "{{service}} {{instance}}"),)),
    Panel("Memory", "bytes", ((_of_trelay("process_resident_memory_bytes"), "{{service}} {{instance}}"),)),
    Panel("File descriptors", "none", ((_of_trelay("process_open_fds"), "{{service}} {{instance}}"),)),
    Panel("Certificates expire in", "s",
          (("min by (certificate) (trelay_certificate_expiry_timestamp_seconds) - time()", "{{certificate}}"),)),
    Panel("Mails that wait", "none", (("sum by (instance) (trelay_mails_waiting)", "{{instance}}"),)),
)  # fmt: skip

SUBSCRIBERS = (
    _stat("Connections", "none", "sum(trelay_experience_connections)"),
    _stat("Catching up", "none", "sum(trelay_experience_catching_up)"),
    _stat("Accepted a second", "reqps", _rate("trelay_experience_handshakes_total", matchers='outcome="accepted"')),
    _stat("Delay, p99", "s", _quantile(0.99, "trelay_experience_delay_seconds")),
    _stat("Gaps in 24 h", "none", "sum(increase(trelay_experience_gaps_total[24h]))",
          "Subscribers that could not resume without a gap."),
    _stat("Memory of the history", "bytes", "sum(trelay_experience_history_bytes)"),
    Panel("Connections, by replica", "none", (("trelay_experience_connections", "{{instance}}"),)),
    Panel("Requests for the stream, by outcome", "reqps",
          ((_rate("trelay_experience_handshakes_total", "outcome") + " > 0", "{{outcome}}"),)),
    Panel("Connections that end, by reason", "ops",
          ((_rate("trelay_experience_endings_total", "reason") + " > 0", "{{reason}}"),),
          "docs/subscribers.md describes each reason."),
    Panel("Deliveries", "eps", ((_rate("trelay_experience_deliveries_total", "instance"), "{{instance}}"),)),
    Panel("Delay, p99, by source", "s",
          ((_quantile(0.99, "trelay_experience_delay_seconds", "source"), "{{source}}"),)),
    Panel("Connections behind", "none",
          (("sum(trelay_experience_catching_up)", "catching up"),
           (_rate("trelay_experience_lagging_total"), "fell behind, a second"),
           (_rate("trelay_experience_catch_ups_total"), "began to catch up, a second"))),
    Panel("Registrations and tickets, by outcome", "reqps",
          ((_rate("trelay_experience_registrations_total", "outcome") + " > 0", "registration {{outcome}}"),
           (_rate("trelay_experience_tickets_total", "outcome") + " > 0", "ticket {{outcome}}"))),
    Panel("Pushes, by outcome", "reqps",
          ((_rate("trelay_experience_pushes_total", "outcome") + " > 0", "{{outcome}}"),)),
    Panel("Events pushed and sent", "eps",
          ((_rate("trelay_experience_pushed_events_total"), "POST /entity"),
           (_rate("trelay_experience_inbound_total"), "sent by clients"))),
)  # fmt: skip

OWNERS = (
    Panel("State", "none",
          ((f"max by (source, state) (trelay_system_source_state{{{_SOURCE}}}) == 1", "{{source}} {{state}}"),),
          "Replicas on standby show standby beside the state of the replica that runs the source.", width=12),
    Panel("Lag", "s",
          ((f"time() - (max by (source) (trelay_system_caught_up_timestamp_seconds{{{_SOURCE}}}) > 0)", "{{source}}"),),
          "Everything that is older than this is published.", width=12),
    Panel("Events published", "eps",
          ((_rate("trelay_system_events_published_total", "source", _SOURCE), "{{source}}"),)),
    Panel("Dead letters", "eps", ((_rate("trelay_system_rejects_total", "source", _SOURCE), "{{source}}"),),
          "Records of which no event could be made."),
    Panel("Failed attempts and restarts", "ops",
          ((_rate("trelay_system_retries_total", "source", _SOURCE), "{{source}} attempts"),
           (_rate("trelay_system_restarts_total", "source", _SOURCE), "{{source}} restarts"))),
    Panel("Polls", "ops", ((_rate("trelay_system_polls_total", "source", _SOURCE), "{{source}}"),)),
    Panel("Poll, p99", "s",
          ((_quantile(0.99, "trelay_system_poll_seconds", "source", _SOURCE), "{{source}}"),), "Trelay waits for it."),
    Panel("Commit, p99", "s", ((_quantile(0.99, "trelay_system_commit_seconds", "source", _SOURCE), "{{source}}"),)),
    Panel("Seen and not published yet", "none",
          ((f"sum by (source) (trelay_source_waiting{{{_SOURCE}}})", "{{source}}"),),
          "Such as a line without its end."),
    Panel("Lost, or not accounted for", "none",
          ((f"sum by (source) (trelay_source_losses_total{{{_SOURCE}}})", "{{source}} lost parts"),
           (f"sum by (source) (trelay_source_unaccounted_rows{{{_SOURCE}}})", "{{source}} unaccounted rows"))),
    Panel("Log that PostgreSQL keeps for a slot", "bytes",
          ((f"max by (source) (trelay_source_slot_lag_bytes{{{_SOURCE}}})", "{{source}}"),)),
    Panel("Webhooks, by outcome", "reqps",
          ((_rate("trelay_webhook_requests_total", "source, outcome", _SOURCE), "{{source}} {{outcome}}"),)),
    Panel("Webhook deliveries that wait", "none",
          ((f"max by (source) (trelay_webhook_inbox_deliveries{{{_SOURCE}}})", "{{source}}"),)),
)  # fmt: skip
