"""Connections and what is written to them. Knows nothing of tokens, tables or the bus."""
