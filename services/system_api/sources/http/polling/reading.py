"""Reads pages in a thread of their own: a page of 16 MiB would stop the event loop for a second."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from services.system_api.sources.http.polling.formats import BodyParser
from services.system_api.sources.http.polling.options import HttpSourceOptions
from services.system_api.sources.http.polling.records import Page, Selector
from shared.errors import Malformed


class PageReader:
    """Reads the pages of one source."""

    def __init__(self, options: HttpSourceOptions, place: str, executor: ThreadPoolExecutor) -> None:
        self._parser = BodyParser(options.format, options.delimiter, place)
        self._options = options
        self._executor = executor
        self._selectors: list[Selector] = []
        """The one selector. Only the thread touches it: an expression belongs to the thread that compiled it."""

    @classmethod
    @asynccontextmanager
    async def opened(cls, options: HttpSourceOptions, place: str, name: str) -> AsyncIterator["PageReader"]:
        """Run the thread while the context is open.

        Raises:
            SettingsError: the format needs an extra that is not installed.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix=f"pages of source {name}")
        reader = cls(options, place, executor)
        try:
            yield reader
        finally:
            executor.submit(reader._selectors.clear)
            executor.shutdown(wait=False)

    async def read(self, body: bytes, content_type: str) -> Page:
        """Read a page.

        Raises:
            Malformed: the body is not what the settings say.
        """
        found = await asyncio.get_running_loop().run_in_executor(self._executor, self._read, body, content_type)
        if isinstance(found, Page):
            return found
        raise Malformed(found)

    def _read(self, body: bytes, content_type: str) -> Page | str:
        """Return the page, or what is wrong with it.

        An exception would hold the expressions by its traceback, and the event loop would drop them in its own thread.
        """
        if not self._selectors:
            self._selectors.append(Selector(self._options))
        try:
            return self._selectors[0].page(self._parser.json(body, content_type))
        except Malformed as exc:
            return str(exc)
