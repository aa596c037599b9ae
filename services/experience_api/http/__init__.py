"""The HTTP endpoints, the bodies they accept and the errors they respond with."""
