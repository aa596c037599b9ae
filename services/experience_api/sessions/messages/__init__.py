"""What clients send: reads it, and stores it on the inbound topic."""
