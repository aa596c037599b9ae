"""From what the replicas answer to the status of the deployment. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from services.cli.status.exposition import Samples
from services.cli.status.problems import Problem, of_pipeline, of_replica, of_source

_STANDALONE = "standalone"
"""What a process that runs all services calls itself."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one address answered."""

    url: str
    error: str | None = None
    """Why it did not answer."""
    ready: Mapping[str, Any] | None = None
    """The body of `/readyz`."""
    samples: Samples | None = None
    sources: Mapping[str, Any] | None = None
    """The body of `/sources`; None from a service without it."""
    pipelines: Mapping[str, Any] | None = None
    refused: str | None = None
    """Why it does not show sources or pipelines, although it has them."""
    guessed: bool = False
    """Whether nobody named the address: it is one of the defaults."""


def overview(answers: Iterable[Answer], now: float) -> dict[str, Any]:
    """Return the status of the deployment as JSON; `now` is in seconds since 1970."""
    asked = _without_guesses(list(answers))
    replicas = [_replica(answer, now) for answer in asked]
    found = _processes(asked)
    sources = _sources(asked, found, now)
    pipelines = _pipelines(asked, found)
    problems = [problem for replica in replicas for problem in of_replica(replica)]
    problems += [problem for name, source in sources.items() for problem in of_source(name, source)]
    problems += [problem for name, pipeline in pipelines.items() for problem in of_pipeline(name, pipeline)]
    return {
        "healthy": not problems,
        "replicas": replicas,
        "sources": sources,
        "pipelines": pipelines,
        "lag_records": _known(found, "process_api", "trelay_process_lag_records"),
        "connections": _known(found, "experience_api", "trelay_experience_connections"),
        "catching_up": _known(found, "experience_api", "trelay_experience_catching_up"),
        "dead_letters": {
            "sources": {name: source["rejected"] for name, source in sources.items()},
            "pipelines": _by(found, "trelay_process_rejects_total", "pipeline"),
            "unclaimed": _known(found, "process_api", "trelay_process_unclaimed_total"),
        },
        "problems": [{"alert": each.alert, "place": each.place, "text": each.text} for each in _once(problems)],
    }


def _once(problems: list[Problem]) -> list[Problem]:
    return list(dict.fromkeys(problems))


def _without_guesses(answers: list[Answer]) -> list[Answer]:
    """Leave out default addresses that do not answer, where one process runs all services."""
    whole = any(_service(answer.samples) == _STANDALONE for answer in answers)
    return [answer for answer in answers if not (whole and answer.guessed and answer.error is not None)]


def _processes(answers: list[Answer]) -> list[Samples]:
    """Return the metrics of each process once: one that runs all services answers at the address of each of them."""
    found: list[Samples] = []
    seen: set[float] = set()
    for samples in (answer.samples for answer in answers if answer.samples is not None):
        started = samples.total("process_start_time_seconds")
        if _service(samples) == _STANDALONE and started in seen:
            continue
        seen.add(started)
        found.append(samples)
    return found


def _service(samples: Samples | None) -> str:
    return "" if samples is None else samples.label("trelay_build_info", "service")


def _replica(answer: Answer, now: float) -> dict[str, Any]:
    samples, ready = answer.samples or Samples(""), answer.ready or {}
    started = samples.total("process_start_time_seconds")
    return {
        "url": answer.url,
        "service": _service(samples) or None,
        "version": samples.label("trelay_build_info", "version") or None,
        "error": answer.error,
        "refused": answer.refused,
        "ready": bool(ready.get("ready")),
        "draining": bool(ready.get("draining")),
        "missing": dict(ready.get("missing") or {}),
        "notes": dict(ready.get("notes") or {}),
        "uptime_seconds": round(now - started, 1) if started else None,
        "memory_bytes": int(samples.total("process_resident_memory_bytes")) or None,
        "connections": None if answer.samples is None else int(samples.total("trelay_experience_connections")),
        "mails_waiting": int(samples.total("trelay_mails_waiting") + samples.total("trelay_notifications_waiting")),
        "certificates": {
            sample.labels["certificate"]: round(sample.value - now)
            for sample in samples.of("trelay_certificate_expiry_timestamp_seconds")
            if sample.value == sample.value
        },
    }


def _sources(answers: list[Answer], found: list[Samples], now: float) -> dict[str, Any]:
    listed = next((answer.sources for answer in answers if answer.sources is not None), None)
    if listed is None:
        return {name: _measured(name, found, now) for name in sorted(_names(found))}
    slots = _by(found, "trelay_source_slot_lag_bytes", "source")
    return {
        name: {
            "state": source["state"],
            "owner": source["owner"],
            "known_owner": True,
            "lag_seconds": source["caught_up_seconds_ago"],
            "per_second": source["published_per_second"],
            "published": source["counts"]["published"],
            "rejected": source["counts"]["rejected"],
            "unaccounted": source["counts"]["unaccounted"],
            "slot_lag_bytes": slots.get(name, 0),
            "error": source["error"],
            "problems": source["problems"],
        }
        for name, source in listed.items()
    }


def _names(found: list[Samples]) -> set[str]:
    return {sample.labels["source"] for samples in found for sample in samples.of("trelay_system_source_state")}


def _measured(name: str, found: list[Samples], now: float) -> dict[str, Any]:
    """Return a source as metrics show it: without its owner and the text of its error."""
    states = [
        sample.labels["state"]
        for samples in found
        for sample in samples.of("trelay_system_source_state")
        if sample.labels["source"] == name and sample.value == 1
    ]
    caught_up = max(samples.by("trelay_system_caught_up_timestamp_seconds", "source").get(name, 0) for samples in found)
    return {
        # The replica that runs it knows more than those on standby.
        "state": min(states, key=lambda state: (state == "standby", state)) if states else "unknown",
        "owner": None,
        "known_owner": False,
        "lag_seconds": round(now - caught_up, 3) if caught_up else None,
        "per_second": None,
        "published": int(_by(found, "trelay_system_events_published_total", "source").get(name, 0)),
        "rejected": int(_by(found, "trelay_system_rejects_total", "source").get(name, 0)),
        "unaccounted": int(_by(found, "trelay_source_unaccounted_rows", "source").get(name, 0)),
        "slot_lag_bytes": _by(found, "trelay_source_slot_lag_bytes", "source").get(name, 0),
        "error": None,
        "problems": [],
    }


def _pipelines(answers: list[Answer], found: list[Samples]) -> dict[str, Any]:
    taken = _by(found, "trelay_process_events_taken_total", "pipeline")
    published = _by(found, "trelay_process_events_published_total", "pipeline")
    rejected = _by(found, "trelay_process_rejects_total", "pipeline")
    held = _by(found, "trelay_pipeline_blocked_seconds_total", "pipeline")
    described: Mapping[str, Any] = next((each.pipelines for each in answers if each.pipelines is not None), {})
    return {
        name: {
            "state": described.get(name, {}).get("state"),
            "version": described.get(name, {}).get("version"),
            "lag_records": described.get(name, {}).get("lag"),
            "taken": int(taken.get(name, 0)),
            "published": int(published.get(name, 0)),
            "rejected": int(rejected.get(name, 0)),
            "held_seconds": round(held.get(name, 0.0), 1),
            "held": described.get(name, {}).get("held") or [],
        }
        for name in sorted({*taken, *described})
    }


def _known(found: list[Samples], service: str, name: str) -> int | None:
    """Return what the replicas of a service counted; None if no replica of it has answered."""
    of_service = [samples for samples in found if _service(samples) in {service, _STANDALONE}]
    return int(sum(samples.total(name) for samples in of_service)) if of_service else None


def _by(found: list[Samples], name: str, label: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for samples in found:
        for key, value in samples.by(name, label).items():
            sums[key] = sums.get(key, 0.0) + value
    return sums
