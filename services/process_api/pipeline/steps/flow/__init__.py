"""Steps that hold steps, or make several events of one: `branch`, `parallel`, `foreach`, `split`, `emit`, `use`."""
