"""The bus between the layers: topics of partitions, transactions, groups; on Kafka, on PostgreSQL, in memory."""
