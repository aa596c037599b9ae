"""Message queues and topics as sources: one package a broker, and what all of them share."""
