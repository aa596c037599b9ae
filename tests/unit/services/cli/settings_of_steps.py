"""Every setting of steps beyond those of a plain pipeline, for the test of verdicts."""

STEPS = """\
    rich:
      sources: [orders]
      channel: orders.rich
      shadow: {channel: orders.new, timeout: 2, keep: 50, steps: [{set: {data.tier: silver}}]}
      steps:
        - mask: {hash: [data.email], key: 0123456789abcdef0123456789abcdef, redact: [data.name],
            truncate: {data.zip: 2}, keep_last: {data.card: 4}}
        - convert: {data.amount: number, data.at: {from: milliseconds, to: rfc3339}}
        - enrich:
            sql: {url: "postgresql://trelay@db/shop", password: secret, query: "SELECT * FROM c WHERE id = ANY(:keys)",
              key_column: id, rows: one, batch_size: 100, timeout: 5, pool_size: 2, row_limit: 1000}
            key: customer
            into: data.customer
            merge: value.name
            missing: "null"
            cache: {ttl: 60, negative_ttl: 5, size: 1000, bytes: 1048576, stale_while_unavailable: true}
        - enrich:
            http: {url: "https://api.example.com/customers?ids={keys}", response: items,
              batch: {size: 10, items: $, key: id}, propagate_trace: true}
            key: customer
            into: data.customer
        - enrich: {file: {path: customers.csv, key_column: id}, key: customer, into: data.customer}
        - call: {url: "https://fraud.example/score", method: PUT, body: '{"amount": amount}', into: data.score,
            response: score, on_error: default, default: 0, circuit: {failures: 5, open_seconds: 30},
            propagate_trace: true}
        - branch: {cases: [{when: amount > 100, steps: [{set: {data.tier: gold}}]}], otherwise: [{drop: data.note}]}
        - parallel: {lists: {net: [{map: price}]}, merge: '{"net": net}', into: data.price}
        - foreach: {items: data.lines, steps: [{filter: n > 0}]}
        - split: {items: lines, into: data.lines}
        - use: {list: large, with: {limit: 100}}
        - emit: [orders.rich, =team]
        - python: {function: "copy:copy", settings: {}, run: process, timeout: 2, processes: 1}
    stateful:
      sources: [orders, github]
      channel: orders.stateful
      steps:
        - dedupe: {by: number, within: 3600}
        - latest: {by: [region], every: 60000}
        - schedule: {quiet: 60, by: region, times: 3, type: quiet}
        - table: {of: github, into: data.team, by: [], deleted: gone, missing: drop}
        - aggregate: {window: {tumbling: 60}, lateness: 10, ahead: 600, idle: 30, early: 5, by: region, type: totals,
            values: {orders: count, total: {sum: amount}, least: {min: amount}, most: {max: amount},
              mean: {avg: amount}, newest: {last: amount}}}
        - aggregate: {window: {sliding: 60, every: 10}, values: {orders: count}}
        - aggregate: {window: {session: 60}, values: {orders: count}}
    regrouped:
      sources: [orders]
      channel: orders.regrouped
      steps:
        - repartition: customer
        - dedupe: {by: number, within: 3600}
    joined:
      sources: [orders, feed]
      channel: orders.joined
      steps:
        - join: {left: orders, right: feed, within: 600, lateness: 10, ahead: 600, idle: 30, by: [id], mode: left,
            merge: '{"left": left}'}
"""
