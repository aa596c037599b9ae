"""Administration: clients, consumers and connections, for `trelay clients` and for the admin API on its own port."""
