"""What every process runs on: signals, tasks, time, retries, logs, its identity and failpoints."""
