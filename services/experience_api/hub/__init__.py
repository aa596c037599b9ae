"""Holds connections and writes frames to them. Knows nothing of tokens, tables or the bus."""
