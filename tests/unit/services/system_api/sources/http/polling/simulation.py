"""A list that changes while its pages are read, and a source that crashes: without HTTP, so that runs take no time."""

import json
import random
from collections.abc import Mapping
from typing import Any

from yarl import URL

from services.system_api.sources.http.polling.events import RecordEvents
from services.system_api.sources.http.polling.fetching import facts
from services.system_api.sources.http.polling.opening import make_changes
from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.http.polling.page_cache import FetchedPage, PageCache
from services.system_api.sources.http.polling.pager import Request
from services.system_api.sources.http.polling.records import Selector, digest
from services.system_api.sources.http.polling.rejected import RejectedRecords
from services.system_api.sources.http.polling.sweep import Sweep
from services.system_api.sources.source import Batch, EventBuilder
from shared.http.client.client import Response
from shared.runtime.clock import SystemClock, rfc3339

URL_OF_LIST = "https://api.example/orders"
BEGIN = 1_800_000_000


class SimulatedClock(SystemClock):
    def __init__(self) -> None:
        self.at = float(BEGIN)

    def time(self) -> float:
        return self.at


class ChangingList:
    """Records in ascending order of their last change, or newest first."""

    def __init__(self, rng: random.Random, clock: SimulatedClock, *, size: int, newest_first: bool) -> None:
        self.rng = rng
        self.clock = clock
        self.size = size
        self.newest_first = newest_first
        self.records: dict[str, dict[str, Any]] = {}
        self.count = 0

    def change(self) -> None:
        """Insert, update or delete a record; time passes."""
        self.clock.at += self.rng.choice([0, 1, 1, 2])
        choice = self.rng.random()
        if choice < 0.4 or not self.records:
            self.count += 1
            self.put(f"r{self.count}", 1)
        else:
            chosen = self.rng.choice(sorted(self.records))
            found = self.records.pop(chosen)
            if choice < 0.75:
                self.put(chosen, found["version"] + 1)

    def put(self, identity: str, version: int) -> None:
        self.records[identity] = {"id": identity, "version": version, "at": rfc3339(self.clock.at)}

    def page(self, url: URL) -> list[dict[str, Any]]:
        since = url.query.get("since", "")
        # A stable order: by time, then in the order of the changes.
        listed = [each for each in self.records.values() if each.get("at", "9") >= since]
        if self.newest_first:
            listed.reverse()
        query = url.query
        start = int(query["offset"]) if "offset" in query else (int(query.get("page", "1")) - 1) * self.size
        return listed[start : start + self.size]


class Simulation:
    """Polls the list, commits what it gives, and crashes at times."""

    def __init__(self, seed: int, *, size: int, newest_first: bool = False, **options: Any) -> None:
        self.rng = random.Random(seed)
        self.clock = SimulatedClock()
        self.list = ChangingList(self.rng, self.clock, size=size, newest_first=newest_first)
        given = {"kind": "http", "url": URL_OF_LIST, "type": "t", "id": "id", "time": "at", "records": "items"}
        self.options = HttpSourceOptions.model_validate(given | options)
        self.selector = Selector(self.options)
        self.checkpoint: dict[str, bytes] = {}
        self.events: list[dict[str, Any]] = []
        self.largest = 0
        self.open()

    def open(self) -> None:
        """Open the source at what was committed."""
        self.cache = PageCache()
        builders = [EventBuilder("orders", kind, None, self.clock, random.Random(1)) for kind in ("t", "deleted")]
        self.sweep = Sweep(
            self.options,
            make_changes(self.options.changes, self.checkpoint, self.clock),
            RejectedRecords(self.checkpoint),
            RecordEvents(*builders),
            self.cache,
        )

    def fetch(self, request: Request) -> FetchedPage:
        body = json.dumps({"items": self.list.page(request.url)}).encode()
        known, fingerprint = self.cache.get(request.url), digest(body)
        if known is not None and known.digest == fingerprint:
            return FetchedPage(request, known, ())
        page = self.selector.page(body)
        found = facts(Response(request.url, 200, {}, (), body), fingerprint, page)
        return FetchedPage(request, found, [*page.records, *page.unreadable])

    def poll(self, *, crash: bool = False) -> Batch:
        """Poll once, and commit unless it crashes before that."""
        request = self.sweep.request
        if request is not None:
            self.sweep.load(self.fetch(request), str(request.url))
        batch = self.sweep.batch(self.rng.randrange(1, 5))
        if crash:
            self.open()
            return batch
        self.events += [json.loads(record.value or b"") for record in batch.records]
        self.commit(batch.checkpoint)
        return batch

    def snapshot(self) -> None:
        """Begin a snapshot, and commit that."""
        self.commit(self.sweep.begin_snapshot())

    def commit(self, parts: Mapping[str, bytes | None]) -> None:
        for part, value in parts.items():
            if value is None:
                del self.checkpoint[part]
            else:
                self.checkpoint[part] = value
        self.largest = max(self.largest, sum(map(len, self.checkpoint.values())))

    def run(self, polls: int, *, change: float = 0.5, crash: float = 0.05) -> None:
        """Poll so often, with changes and crashes in between."""
        for _ in range(polls):
            while self.rng.random() < change:
                self.list.change()
            self.poll(crash=self.rng.random() < crash)
            if self.rng.random() < crash:
                self.open()

    def settle(self) -> None:
        """Poll without changes until nothing is left; a deletion counts after two polls."""
        for _ in range(4):
            while self.poll().more:
                pass

    def known_deleted(self) -> set[str]:
        """The records whose last event is a deletion."""
        last = {event["subject"]: event["type"] for event in self.events}
        return {subject for subject, kind in last.items() if kind == "deleted"}


def published(events: list[dict[str, Any]]) -> dict[str, list[int]]:
    """Return the versions of each record in the order of their events."""
    found: dict[str, list[int]] = {}
    for event in events:
        if event["type"] == "t":
            found.setdefault(event["subject"], []).append(event["data"]["version"])
    return found
