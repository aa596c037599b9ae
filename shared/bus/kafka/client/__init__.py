"""The connections to a Kafka cluster, the requests sent over them, and their errors."""
