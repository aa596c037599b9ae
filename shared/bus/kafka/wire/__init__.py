"""Kafka's requests and responses, one module for each family: the versions that aiokafka lacks, and aiokafka's own."""
