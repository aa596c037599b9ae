"""Settings of table sources, for `settings_files`."""

TABLE_SOURCES = """\
    changes: {kind: table, url: "postgresql://a@db/a", table: shop.log, mode: replication, slot: trelay_log,
      publication: log, create_slot: true, initial_snapshot: false, slot_lag_limit: 1048576, type: t, channel: log}
    epochs: {kind: table, url: "sqlite:///e.db", table: e, updated_at_column: [at, made], time_unit: seconds, type: t,
      channel: epochs}
    joined: {kind: table, url: "postgresql://a@db/a", query: "SELECT o.id, c.name FROM o JOIN c USING (id)", mode: diff,
      type: t, channel: joined}
"""
