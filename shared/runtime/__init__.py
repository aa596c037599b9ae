"""What every process runs on: signals, tasks, time, retries, logs and failpoints."""
