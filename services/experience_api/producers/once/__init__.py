"""Publishes a repeated push once: idempotency keys, where they are kept, and the appender that they guard."""
