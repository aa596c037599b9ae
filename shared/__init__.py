"""What the three services have in common: the event, the bus, leases, settings, the database, alerts, telemetry."""
