"""State of pipelines: kept per partition, logged in the transaction of offsets and outputs, restored from that log."""
