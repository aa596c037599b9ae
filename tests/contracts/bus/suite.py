"""The whole suite. An implementation inherits it in its own test module and says what `deployment` is."""

from tests.contracts.bus.appending import AppendingContract
from tests.contracts.bus.crashes import CrashesContract
from tests.contracts.bus.groups import GroupsContract
from tests.contracts.bus.outages import OutagesContract
from tests.contracts.bus.reading import ReadingContract
from tests.contracts.bus.topics import TopicsContract
from tests.contracts.bus.writing import WritingContract


class BusContract(TopicsContract, WritingContract, AppendingContract, ReadingContract, GroupsContract):
    """What every bus promises; see `shared.bus.protocol`."""


class ServedBusContract(CrashesContract, OutagesContract):
    """What a bus with a server promises beyond that. Its tests stop the server, so nobody else may use it."""
