"""The whole suite. An implementation inherits it in its own test module and defines `deployment`."""

from tests.contracts.registry.claims import ClaimsContract
from tests.contracts.registry.clients import ClientsContract
from tests.contracts.registry.consumers import ConsumersContract, TicketsContract
from tests.contracts.registry.endings import EndingsContract
from tests.contracts.registry.notices import NoticesContract
from tests.contracts.registry.several import SeveralContract
from tests.contracts.registry.several_tokens import SeveralTokensContract
from tests.contracts.registry.tokens import TokensContract


class ClientsSuite(ClientsContract, ConsumersContract, NoticesContract):
    """The guarantees of every registry about clients, consumers and notices."""


class ClaimsSuite(
    ClaimsContract, EndingsContract, SeveralContract, SeveralTokensContract, TokensContract, TicketsContract
):
    """The guarantees of every registry about connections and their tokens."""
