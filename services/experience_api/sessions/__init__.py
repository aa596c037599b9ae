"""The handshake, the one connection of each consumer, and the lease of this replica."""
