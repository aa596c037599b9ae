"""Plain expressions: those that need no JSONata, evaluated exactly, with its results."""
