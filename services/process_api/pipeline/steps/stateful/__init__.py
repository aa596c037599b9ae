"""Steps that keep state of the events before: dedupe, latest, aggregate and join."""
