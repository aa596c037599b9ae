"""Requests with a time limit; tests/unit/…/test_io_thread.py tests the thread itself."""

import asyncio
import threading

import pytest

from services.system_api.sources.file.remote.remote_thread import RemoteThread
from shared.errors import Unavailable


async def test_a_request_without_an_answer_is_ended_in_the_next_thread_before_other_requests() -> None:
    released, ran_in = threading.Event(), list[tuple[str, int]]()

    def hang_up() -> None:
        ran_in.append(("hung up", threading.get_ident()))
        released.set()

    def request() -> int:
        ran_in.append(("request", threading.get_ident()))
        return 7

    def hanging() -> None:
        ran_in.append(("hanging", threading.get_ident()))
        released.wait(60)

    remote = RemoteThread("remote", "sftp://host/in", 0.05, hang_up)
    with remote.running():
        with pytest.raises(Unavailable, match=r"^sftp://host/in: no answer within 0\.05 s$"):
            await remote.run(hanging)
        remote._timeout = 60
        assert await remote.run(request) == 7
        await asyncio.to_thread(released.wait, 60)
    assert [name for name, _ in ran_in] == ["hanging", "hung up", "request"]
    assert ran_in[0][1] != ran_in[1][1] == ran_in[2][1]
