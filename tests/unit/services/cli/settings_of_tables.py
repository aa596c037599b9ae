"""Settings of table sources, for `settings_files`."""

TABLE_SOURCES = """\
    changes: {kind: table, url: "postgresql://a@db/a", table: shop.log, mode: replication, slot: trelay_log,
      publication: log, create_slot: true, initial_snapshot: false, slot_lag_limit: 1048576, type: t, channel: log}
    epochs: {kind: table, url: "sqlite:///e.db", table: e, updated_at_column: [at, made], time_unit: seconds, type: t,
      channel: epochs}
    erp-parts: {kind: table, url: "mssql://a:b@db:1433/a", table: dbo.parts, updated_at_column: at, overlap: 30,
      tls: {verify: false}, type: t, channel: erp}
    erp-stores: {kind: table, url: "oracle://a@db/S", table: stores, overlap: 30, type: t, channel: stores}
    joined: {kind: table, url: "postgresql://a@db/a", query: "SELECT o.id, c.name FROM o JOIN c USING (id)", mode: diff,
      type: t, channel: joined}
"""
