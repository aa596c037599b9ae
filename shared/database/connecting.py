"""Opens connections, directly or through a pooler in session mode.

A pooler such as PgBouncer refuses most settings in the startup message, so they are set after connecting. In its
transaction mode a setting would reach the statements of other clients, and a LISTEN would be lost. So the mode is found
out before anything is set.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import asyncpg

from shared.database.password import Password

_SET = """
    SELECT name, set_config(name, value, false) FROM unnest($1::text[], $2::text[]) s (name, value)
    WHERE pg_backend_pid() = $3 AND current_setting(name, true) IS NOT NULL
"""
_GET = "SELECT name, current_setting(name) FROM unnest($1::text[]) s (name)"
_PID = "SELECT pg_backend_pid()"
_ROUNDS = 3
"""How often the server process of a connection is compared while another connection is in a transaction."""
_TIMEOUT = 5.0
"""Seconds to wait for the pooler. It answers at once, unless all of its connections are in use."""


class PoolerError(asyncpg.InterfaceError):
    """The connection leads through a pooler that does not keep sessions."""


async def open_connection(arguments: Mapping[str, Any]) -> asyncpg.Connection:
    """Connect with the arguments of `engine.connect_arguments`. Settings that the server does not know are left out.

    Raises:
        PoolerError: a pooler gives each transaction another session, or does not tell.
        OSError, asyncpg.PostgresError, asyncpg.InterfaceError: as `asyncpg.connect`.
    """
    settings = dict(arguments["server_settings"])
    startup = {"application_name": settings.pop("application_name")}
    arguments = {**arguments, "server_settings": startup}
    connection, arguments = await _connect(arguments)
    try:
        await _apply(connection, settings, arguments)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _connect(arguments: Mapping[str, Any]) -> tuple[asyncpg.Connection, Mapping[str, Any]]:
    """Return a connection, and the arguments with the password that the server has accepted."""
    password: Password = arguments["password"]
    *newer, last = await password.candidates()
    for candidate in newer:
        with contextlib.suppress(asyncpg.InvalidAuthorizationSpecificationError):
            return await _connect_with(password, candidate, arguments)
    return await _connect_with(password, last, arguments)


async def _connect_with(
    password: Password, candidate: str, arguments: Mapping[str, Any]
) -> tuple[asyncpg.Connection, Mapping[str, Any]]:
    arguments = {**arguments, "password": candidate}
    connection: asyncpg.Connection = await asyncpg.connect(**arguments)
    password.accept(candidate)
    return connection, arguments


async def _apply(connection: asyncpg.Connection, settings: Mapping[str, str], arguments: Mapping[str, Any]) -> None:
    names, values = list(settings), list(settings.values())
    # A pooler announces a process id of its own.
    pid = connection.get_server_pid()
    if await connection.fetch(_SET, names, values, pid):
        return
    pid = await connection.fetchval(_PID)
    if pid != connection.get_server_pid():
        await _check_pooler(connection, pid, arguments)
    set_now = await connection.fetch(_SET, names, values, pid)
    found = await connection.fetch(_GET, [name for name, _ in set_now])
    if [tuple(row) for row in found] != [tuple(row) for row in set_now]:
        raise PoolerError("settings of the session are lost: connect directly, or through a pooler in session mode")


async def _check_pooler(connection: asyncpg.Connection, pid: int, arguments: Mapping[str, Any]) -> None:
    """Check that the connection keeps its server process while another one is in a transaction.

    In transaction mode, the other one gets the process that this one has used last, or this one has to wait for it.
    """
    other: asyncpg.Connection | None = None
    try:
        for _ in range(_ROUNDS):
            try:
                async with asyncio.timeout(_TIMEOUT):
                    if other is None:
                        other = await asyncpg.connect(**arguments)
                    await other.execute("BEGIN")
            except TimeoutError:
                raise PoolerError(_NO_SECOND) from None
            if not await _keeps(connection, pid):
                raise PoolerError(_MODE)
            await other.execute("COMMIT")
    finally:
        if other is not None:
            other.terminate()


async def _keeps(connection: asyncpg.Connection, pid: int) -> bool:
    try:
        async with asyncio.timeout(_TIMEOUT):
            return bool(await connection.fetchval(_PID) == pid)
    except (TimeoutError, asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError):
        return False


_MODE = "found a pooler in transaction mode; connect directly, or through a pooler in session mode"
_NO_SECOND = "the pooler has no second connection with which to check its mode; increase its pool size"
