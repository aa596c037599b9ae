"""A large event over a slow line, in a network of its own."""

import asyncio
import json
import shutil
import subprocess
import sys

import pytest

from services.experience_api.hub.close_codes import TOO_SLOW
from tests.integration.services.experience_api.streams import TIMEOUT


def may_limit_a_network() -> bool:
    if not all(map(shutil.which, ("unshare", "ip", "tc"))):
        return False
    limited = "ip link set lo up && tc qdisc add dev lo root tbf rate 1mbit burst 3kb limit 20kb"
    return subprocess.run(["unshare", "-n", "sh", "-c", limited], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_limit_a_network(), reason="needs unshare, ip and tc, as root")
async def test_a_large_event_arrives_over_a_slow_line_and_the_close_frame_reaches_a_peer_that_stopped_to_read() -> None:
    program = [sys.executable, "-m", "tests.integration.services.experience_api.slow_line"]
    child = await asyncio.create_subprocess_exec("unshare", "-n", *program, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(TIMEOUT):
        output, _ = await child.communicate()
    found = json.loads(output)
    print(found)
    assert found["took"] > 2, "the line was not slow"
    assert (found["ids"], found["ended"]) == (["a:0"], [])
    assert found["closed"] == [TOO_SLOW.code, TOO_SLOW.text()]
