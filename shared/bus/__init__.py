"""The bus between the layers: topics, transactions and consumer groups, on Kafka, PostgreSQL or in memory."""
