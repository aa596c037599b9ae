"""The whole suite. An implementation inherits it in its own test module and says what `deployment` is."""

from tests.contracts.registry.claims import ClaimsContract
from tests.contracts.registry.clients import ClientsContract
from tests.contracts.registry.consumers import ConsumersContract
from tests.contracts.registry.notices import NoticesContract


class ClientsSuite(ClientsContract, ConsumersContract, NoticesContract):
    """What every registry promises of clients, consumers and notices."""


class ClaimsSuite(ClaimsContract):
    """What every registry promises of connections."""
