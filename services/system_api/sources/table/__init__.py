"""Table sources: rows are read as soon as they are visible; none is lost to a late commit, none is emitted twice.

`horizon` computes the order value below which no row can appear any more. `ledger` tracks the rows emitted
above it, and what to save of them. Neither does I/O; `postgresql` and `sqlite` read.
"""
