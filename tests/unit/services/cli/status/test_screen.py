from services.cli.status import screen
from services.cli.status.exposition import Samples
from services.cli.status.overview import Answer, overview
from tests.unit.services.cli.status.deployment import EXPERIENCE, NOW, PROCESS, READY, SYSTEM, source


def test_a_healthy_deployment() -> None:
    answers = [
        Answer("http://s:8081", ready=READY, samples=Samples(SYSTEM), sources={"orders": source()}),
        Answer("http://p:8082", ready=READY, samples=Samples(PROCESS)),
        Answer("http://e:8080", ready=READY | {"draining": True}, samples=Samples(EXPERIENCE)),
    ]
    assert list(screen.lines(overview(answers, NOW))) == [
        "healthy",
        "",
        "SERVICE         ADDRESS        STATE     VERSION  UP     MEMORY   CONNECTIONS",
        "system_api      http://s:8081  ready     0.1.0    1 min  100 MiB  0",
        "process_api     http://p:8082  ready     0.1.0    -      -        0",
        "experience_api  http://e:8080  draining  0.1.0    -      -        7",
        "",
        "SOURCE  STATE    OWNER     LAG    EVENTS/S  PUBLISHED  REJECTED",
        "orders  running  system-1  0.5 s  2         40         2",
        "",
        "PIPELINE  STATE  VERSION  LAG  TAKEN  PUBLISHED  REJECTED  HELD",
        "orders    -      -        -    40     39         1         2 min",
        "",
        "connections: 7, of which catching up: 1",
        "records that wait for the process layer: 11",
        "dead letters: 6, of which of no pipeline: 3",
    ]


def test_problems_come_with_their_runbooks_and_no_control_characters() -> None:
    broken = source(state="down", error="no\x1b[31m route", owner=None, caught_up_seconds_ago=None)
    answers = [
        Answer("http://s:8081", ready=READY | {"ready": False}, samples=Samples(SYSTEM), sources={"orders": broken}),
        Answer("http://p:8082", error="connection refused"),
    ]
    found = list(screen.lines(overview(answers, NOW)))
    assert found[0] == "2 problems"
    assert found[3].split()[2:4] == ["not", "ready"]
    assert found[4].split() == ["-", "http://p:8082", "unreachable", "-", "-", "-", "-"]
    assert found[-4:-2] == [
        "PROBLEM               PLACE                  TEXT",
        "TrelayServiceMissing  service http://p:8082  connection refused",
    ]
    assert found[-2].startswith("TrelaySourceDown      orders                 down: no")
    assert "\x1b" not in "".join(found)
    assert found[-1] == "docs/runbooks has a section for each problem."


def test_a_deployment_without_sources_and_pipelines() -> None:
    found = list(screen.lines(overview([Answer("http://e", ready=READY, samples=Samples(EXPERIENCE))], NOW)))
    assert not [line for line in found if line.startswith(("SOURCE", "PIPELINE"))]


def test_what_a_service_does_not_show_is_named() -> None:
    pipelines = {"orders": {"state": "running", "version": "7", "lag": 3}}
    answers = [
        Answer("http://s", ready=READY, samples=Samples(SYSTEM), refused="/sources answers 401: expected a token"),
        Answer("http://p", ready=READY, samples=Samples(PROCESS), pipelines=pipelines),
    ]
    found = list(screen.lines(overview(answers, NOW)))
    assert found[0] == "healthy"
    assert found[-1] == "as metrics show it, because /sources answers 401: expected a token"
    assert "orders    running  7        3    40     39         1         2 min" in found


def test_what_no_replica_answers_is_unknown() -> None:
    found = list(screen.lines(overview([Answer("http://s:8081", ready=READY, samples=Samples(SYSTEM))], NOW)))
    assert found[-3:] == [
        "connections: unknown",
        "records that wait for the process layer: unknown",
        "dead letters: unknown",
    ]
