"""Tables as sources: rows read eagerly, none missed for a transaction that commits late, none emitted twice.

`postgresql.horizon` knows up to where nothing can turn up any more, `ledger` what has been emitted above that and what
is saved of it; neither does I/O. `postgresql` and `sqlite` read.
"""
