"""Lists, shows, replays and drops dead letters by the operations API of the process layer: `trelay dead-letters`."""
