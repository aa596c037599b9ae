"""The appender: many calls in one transaction."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from shared.bus.group_commit import Call, GroupCommit
from shared.bus.postgres.notifier import CommitNotifier
from shared.bus.postgres.open_transaction import OpenTransaction, Owner
from shared.bus.postgres.plan import Plan, plan
from shared.bus.postgres.pools import Pools, TopicDeleted
from shared.bus.postgres.topics import Topics
from shared.bus.protocol import Outgoing, check_size
from shared.errors import TrelayError
from shared.runtime.tasks import Tasks

_NO_WRITER = Owner()


class PostgresAppender:
    """An `Appender`. While one round of calls is in flight, the next one gathers."""

    def __init__(self, pools: Pools, topics: Topics, notifier: CommitNotifier) -> None:
        self._pools = pools
        self._topics = topics
        self._notifier = notifier
        self.rounds = GroupCommit(self._append_round)

    async def append(self, topic: str, records: Sequence[Outgoing]) -> None:
        """Append with the next round."""
        size = sum(check_size(topic, record) for record in records)
        with self.rounds.caller():
            found = await self._topics.get(topic)
            if found.compact:
                # Plan it alone first, so that an error of this call does not fail the others of its round.
                plan({topic: records}, {topic: found})
            if records:
                await self.rounds.join(topic, records, size)

    async def _append_round(self, calls: list[Call]) -> None:
        try:
            planned = await self._plan(calls)
            async with OpenTransaction.prepared(self._pools, planned, _NO_WRITER) as transaction:
                await transaction.commit()
        except TrelayError as exc:
            if isinstance(exc, TopicDeleted):
                self._topics.invalidate({call.topic for call in calls})
            for call in calls:
                call.finish(exc)
            return
        self._notifier.committed(planned.changed_partitions)
        for call in calls:
            call.finish()

    async def _plan(self, calls: list[Call]) -> Plan:
        records: dict[str, list[Outgoing]] = {}
        for call in calls:
            records.setdefault(call.topic, []).extend(call.records)
        return plan(records, {name: await self._topics.get(name) for name in records})


@asynccontextmanager
async def postgres_appender(pools: Pools, topics: Topics, notifier: CommitNotifier) -> AsyncIterator[PostgresAppender]:
    """Append for as long as the context lasts."""
    appender = PostgresAppender(pools, topics, notifier)
    try:
        async with Tasks() as tasks:
            tasks.keep("append to PostgreSQL", appender.rounds.run())
            yield appender
            await appender.rounds.drain()
    finally:
        await appender.rounds.close()
