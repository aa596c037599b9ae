"""Sends a running service what its OpenAPI document permits and forbids, and finds where the two disagree.

Schemathesis makes the requests: at least one for each keyword of each schema, valid and invalid, then random ones. A
disagreement is, among others, an error of the server, an answer or a status that is not described, valid data that is
refused, invalid data that is accepted, or a request without credentials that is served.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

_ACCEPTED = ["2xx", "401", "403", "404", "409", "431", "5xx"]
"""Statuses of valid requests. What a valid request means to the data at hand may still be refused, and several valid
parameters may be longer than a line of HTTP."""
_REFUSED = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "426", "431"]
_METHODS = ["OPTIONS", "PUT"]
_ALL_METHODS = ["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"]
_SHOWN = 1200
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Run:
    """How a service is tested."""

    auth: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Credentials by security scheme of the document."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Values that are always sent, by `path.` or `query.` and the name."""
    created: frozenset[str] = frozenset()
    """Names of `parameters` that sequences of requests take from the answers before: of what these created."""
    undecidable: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Operations whose schema does not tell which data is valid, such as cursors, and the statuses that refuse it."""
    ambiguous: frozenset[str] = frozenset()
    """Operations whose path fits another template as well, which has other methods."""
    left_out: frozenset[str] = frozenset()
    """Operations that are not tested."""
    random_requests: int = 0
    """Of each operation, at most."""


@dataclass
class Found:
    """What a run has found."""

    requests: int = 0
    statuses: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each operation answered with each status."""
    disagreements: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The first request of each kind."""

    def __str__(self) -> str:
        return "\n".join(f"{operation}: {check}\n{text}" for (operation, check, _), text in self.disagreements.items())


def findings(url: str, run: Run) -> Found:
    """Test the service at this address, which serves its document. Blocks.

    Without random requests, each run sends the same; otherwise the seed is printed.
    """
    seed = int(os.environ.get("TRELAY_TEST_SEED") or (random.randrange(2**32) if run.random_requests else 0))
    print(f"TRELAY_TEST_SEED={seed}")
    found = Found()
    _execute(url, _config(run, seed, dict(run.parameters), sequences=False), found)
    if run.random_requests:
        parameters = {name: value for name, value in run.parameters.items() if name not in run.created}
        _execute(url, _config(run, seed, parameters, sequences=True), found)
    return found


def _execute(url: str, config: SchemathesisConfig, found: Found) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    for event in from_schema(schema).execute():
        match event:
            case events.ScenarioFinished():
                _add(found, event)
            case events.NonFatalError(label=label, value=error) if "Stateful" not in str(label):
                found.disagreements[label, "error", type(error).__name__] = str(error)[:_SHOWN]
            case events.FatalError(exception=error):
                raise error
            case _:
                pass


def _config(run: Run, seed: int, parameters: dict[str, Any], *, sequences: bool) -> SchemathesisConfig:
    operations: list[dict[str, Any]] = [
        {"include-name": name, "checks": {"positive_data_acceptance": {"expected-statuses": [*_ACCEPTED, *statuses]}}}
        for name, statuses in run.undecidable.items()
    ]
    operations += [
        {"include-name": name, "checks": {"allow_header_conformance": {"enabled": False}}}
        for name in sorted(run.ambiguous)
    ]
    operations += [{"include-name": name, "enabled": False} for name in sorted(run.left_out)]
    settings: dict[str, Any] = {
        "seed": seed,
        "continue-on-failure": True,
        "request-timeout": _TIMEOUT,
        "output": {"sanitization": {"enabled": False}},
        "parameters": parameters,
        "generation": {
            "max-examples": max(1, run.random_requests),
            "no-shrink": True,
            "deterministic": not run.random_requests,
        },
        "phases": {
            "examples": {"enabled": False},
            "coverage": {
                "enabled": not sequences,
                "unexpected-methods": _ALL_METHODS if run.random_requests else _METHODS,
            },
            "fuzzing": {"enabled": run.random_requests > 0 and not sequences},
            "stateful": {"enabled": sequences},
        },
        "checks": {
            "positive_data_acceptance": {"expected-statuses": _ACCEPTED},
            "negative_data_rejection": {"expected-statuses": _REFUSED},
        },
        "operations": operations,
    }
    if run.auth:
        settings["auth"] = {"openapi": {name: dict(each) for name, each in run.auth.items()}}
    return SchemathesisConfig.from_dict(settings)


def _add(found: Found, scenario: events.ScenarioFinished) -> None:
    recorder = scenario.recorder
    for interaction in recorder.interactions.values():
        found.requests += 1
        if interaction.response is not None:
            found.statuses[recorder.label, interaction.response.status_code] += 1
    for case, check, text in _failures(recorder):
        response = recorder.interactions[case].response
        body = b"" if response is None else response.content or b""
        status = 0 if response is None else response.status_code
        kind = text.partition("Invalid component: ")[2].partition("\n")[0] or str(status)
        shown = f"{status} {body[:_SHOWN].decode(errors='replace')}\n{text}"
        found.disagreements.setdefault((recorder.cases[case].value.operation.label, check, kind), shown)


def _failures(recorder: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the case, the check and the text of each failure."""
    for case, checks in recorder.checks.items():
        for check in checks:
            if (info := check.failure_info) is not None:
                sample = info.code_sample if len(info.code_sample) < _SHOWN else f"…{info.code_sample[-_SHOWN:]}"
                yield case, check.name, f"{info.failure.title}. {info.failure.message}\n{sample}"
