"""The sessions of consumers: the handshake, the one connection of each consumer, and the replica's lease."""
