"""The replicas of the system layer, and which of them runs which source."""
