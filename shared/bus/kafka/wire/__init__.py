"""Requests in versions that aiokafka does not speak: their form on the wire, and nothing else."""
