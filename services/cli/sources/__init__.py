"""Shows and controls the sources of a running system layer by its operations API: `trelay sources`."""
