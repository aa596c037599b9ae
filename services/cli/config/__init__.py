"""Shows settings as they are resolved, and as they are by default: `trelay config`."""
