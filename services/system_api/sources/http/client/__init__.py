"""The HTTP client of the sources: authentication, limits, pace, and the addresses that it may connect to."""
