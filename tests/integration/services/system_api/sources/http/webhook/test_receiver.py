"""While PostgreSQL does not answer, nothing is accepted; what is sent again is stored once."""

from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from services.system_api.sources.http.webhook.inbox.postgres import PostgresInbox
from services.system_api.sources.http.webhook.metrics import WebhookMetrics
from services.system_api.sources.http.webhook.options import WebhookSourceOptions
from services.system_api.sources.http.webhook.receiver import Receiver, Request
from services.system_api.sources.http.webhook.refusals import Refused
from shared.database.options import DatabaseOptions
from shared.runtime.clock import SYSTEM_CLOCK
from tests.servers.proxy import Proxy
from tests.servers.webhook_senders import SECRET, github

SOURCE = "hooks"
OPTIONS = WebhookSourceOptions.model_validate(
    {"kind": "webhook", "type": "t", "verify": {"kind": "github", "secrets": [SECRET]}}
)


async def deliver(receiver: Receiver, delivery: str) -> str:
    """Return the outcome, or the code of the refusal and when to send again."""
    body = b"{}"
    parts = [body, b""]

    async def read() -> bytes:
        return parts.pop(0)

    try:
        answer = await receiver.receive(Request(CIMultiDict(github(body, delivery)), None, read, ""))
    except Refused as exc:
        return f"{exc.refusal.code}, {exc.headers['Retry-After']}"
    return answer.outcome


async def test_an_outage_of_the_database(migrated_database: DatabaseOptions) -> None:
    host, port = migrated_database.hosts[0], int(migrated_database.url.rpartition(":")[2].partition("/")[0])
    async with Proxy.before(host, port) as proxy:
        through = DatabaseOptions(url=migrated_database.url.replace(f":{port}/", f":{proxy.port}/"))
        async with PostgresInbox.opened(through) as inbox:
            receiver = Receiver(SOURCE, OPTIONS, inbox, WebhookMetrics(CollectorRegistry(), [SOURCE]), SYSTEM_CLOCK)
            assert await deliver(receiver, "d1") == "accepted"
            async with proxy.outage():
                assert await deliver(receiver, "d1") == "unavailable, 5"
                assert await deliver(receiver, "d2") == "unavailable, 5"
            assert [await deliver(receiver, each) for each in ("d1", "d2", "d2")] == [
                "repeated",
                "accepted",
                "repeated",
            ]
            found = await inbox.read(SOURCE, 0, 10, 1000)
            assert [(each.position, each.delivery.id) for each in found] == [(1, "d1"), (2, "d2")]
