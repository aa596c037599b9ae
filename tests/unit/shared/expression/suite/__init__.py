"""The official test suite of JSONata, with its licence: cases, their datasets, and what writes both here."""
