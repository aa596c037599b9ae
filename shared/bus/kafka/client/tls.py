"""TLS to brokers, with files that may change: the authorities, and the certificate of this client with its key."""

import asyncio
import logging
import ssl

from shared.bus.kafka.options import KafkaConnectionOptions
from shared.errors import SettingsError
from shared.runtime.clock import Clock
from shared.runtime.files import stamp

logger = logging.getLogger(__name__)

_INTERVAL = 10.0
"""Seconds between two checks whether the files have changed."""


class BrokerTls:
    """The newest files that could be loaded. They count for new connections; those that are open stay."""

    def __init__(self, options: KafkaConnectionOptions, place: str = "bus: ") -> None:
        """Load the files. Blocks. `place` begins the text of an error.

        Raises:
            SettingsError: a file cannot be used.
        """
        self._options = options
        self._place = place
        self._files = (options.ca_file, options.cert_file, options.key_file)
        self._seen = stamp(self._files)
        self.context = self._load()

    async def follow(self, clock: Clock) -> None:
        """Load the files whenever they have changed, until cancelled."""
        while True:
            await clock.sleep(_INTERVAL)
            await asyncio.to_thread(self.reload)

    def reload(self) -> None:
        """Load the files if they have changed. Blocks.

        Those that cannot be used are logged, and the ones before stay in use.
        """
        found = stamp(self._files)
        if found == self._seen:
            return
        self._seen = found
        try:
            self.context = self._load()
        except SettingsError as exc:
            logger.warning("changed certificate is not used", extra={"component": "bus", "error": str(exc)})
        else:
            logger.info("certificate reloaded", extra={"component": "bus", "certificate": str(self._options.cert_file)})

    def _load(self) -> ssl.SSLContext:
        options = self._options
        try:
            context = ssl.create_default_context(cafile=options.ca_file)
            options.load_client_certificate(context)
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            files = {"ca_file": options.ca_file, "cert_file": options.cert_file, "key_file": options.key_file}
            named = ", ".join(f"{name} {path}" for name, path in files.items() if path is not None)
            raise SettingsError(f"{self._place}{named} cannot be used: {exc}") from exc
        return context
