"""Explains why a client did or did not get an event: looks it up at every hop, and names the one where it stopped."""
