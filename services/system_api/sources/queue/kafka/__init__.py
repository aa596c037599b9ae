"""Topics of a Kafka cluster."""
