"""What the three services share: events, the bus, leases, settings, the database, alerts, HTTP and the runtime."""
