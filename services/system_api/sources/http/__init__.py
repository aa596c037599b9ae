"""Sources over HTTP: third-party APIs that are polled, and what all kinds of HTTP sources share."""
