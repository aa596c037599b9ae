"""The whole suite. An implementation inherits it in its own test module and says what `deployment` is."""

from tests.contracts.bus.appending import AppendingContract
from tests.contracts.bus.groups import GroupsContract
from tests.contracts.bus.reading import ReadingContract
from tests.contracts.bus.topics import TopicsContract
from tests.contracts.bus.writing import WritingContract


class BusContract(TopicsContract, WritingContract, AppendingContract, ReadingContract, GroupsContract):
    """What every bus promises; see `shared.bus.protocol`."""
