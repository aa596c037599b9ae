"""The whole suite. An implementation inherits it in its own test module and provides `deployment`."""

from tests.contracts.bus.appending import AppendingContract
from tests.contracts.bus.crashes import CrashesContract
from tests.contracts.bus.fencing import FencingContract
from tests.contracts.bus.groups import GroupsContract
from tests.contracts.bus.outages import OutagesContract
from tests.contracts.bus.reading import ReadingContract
from tests.contracts.bus.replaying import ReplayingContract
from tests.contracts.bus.topics import TopicsContract
from tests.contracts.bus.writing import WritingContract


class BusContract(
    TopicsContract,
    WritingContract,
    FencingContract,
    AppendingContract,
    ReadingContract,
    ReplayingContract,
    GroupsContract,
):
    """The guarantees of every bus; see `shared.bus.protocol`."""


class ServedBusContract(CrashesContract, OutagesContract):
    """Further guarantees of a bus with a server. Its tests stop the server, so no other test may use it."""
