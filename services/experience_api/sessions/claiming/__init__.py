"""Claims a connection for a client: probes the one that it has, and tells the other replicas of a takeover."""
