"""The HTTP client: authentication, limits, pace, and the addresses that it may connect to."""
