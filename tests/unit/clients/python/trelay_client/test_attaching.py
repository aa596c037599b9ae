import pytest

from trelay_client import UsageError
from trelay_client.attaching import Attached
from trelay_client.channels.changes import Changes
from trelay_client.messages import Messages

PARTS = {"sender": Messages(10, 1_000), "list of channels": Changes(["a"], {})}


@pytest.mark.parametrize("name", PARTS)
def test_a_part_belongs_to_one_subscription_at_a_time(name: str) -> None:
    part: Attached = PARTS[name]
    part.attach(lambda: None)
    with pytest.raises(UsageError, match=f"the {name} belongs to another subscription"):
        part.attach(lambda: None)
    part.detach("over")
    part.attach(lambda: None)
    part.detach("over")
