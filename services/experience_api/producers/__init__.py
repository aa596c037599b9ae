"""Who may push events with `POST /entity`: producers with tokens or client certificates, beside the allow list."""
