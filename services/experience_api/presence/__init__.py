"""Presence: publishes which clients have come and which have left, exactly once, from the claims of all replicas."""
