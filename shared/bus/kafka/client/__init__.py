"""The connections to a Kafka cluster, its metadata, and the errors of both."""
