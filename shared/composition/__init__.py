"""The composition root that the three services share: their common settings, parts, bus connection and shutdown."""
