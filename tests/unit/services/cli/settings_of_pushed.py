"""Every setting of sources to which others push, for the test of verdicts."""

PUSHED_SOURCES = """\
    shop: {kind: webhook, verify: {kind: hmac, secrets: [a secret that is long enough], header: X-Signature,
        algorithm: sha1, encoding: base64, prefix: "sha1="}, delivery_id: {body: true}, records: items, id: id, type: t,
      type_from: {header: X-Topic, prefix: shop.}, subject: {header: X-Shop}, time: at, form_field: payload, channel: c,
      body_limit: 65536, body_timeout: 5, rate: 10, max_concurrent: 8, window: 3600, window_limit: 1000,
      inbox_limit: 10, inbox_bytes: 1048576, record_limit: 1024}
    github: {kind: webhook, verify: {kind: github, secrets: [a secret that is long enough]}, type: t}
    stripe: {kind: webhook, verify: {kind: stripe, secrets: [a secret that is long enough], tolerance: 60}, type: t,
      delivery_id: {none: true}, channel: c}
    slack: {kind: webhook, verify: {kind: slack, secrets: [a secret that is long enough], tolerance: 60}, type: t,
      channel: c}
    svix: {kind: webhook, verify: {kind: standard, secrets: [whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3], tolerance: 60},
      type: t, channel: c}
    basic: {kind: webhook, verify: {kind: basic, username: a, passwords: [a secret that is long enough]}, type: t,
      delivery_id: id, channel: c}
    feed: {kind: sse, url: "https://feed.example.com/events", type: t, type_from: kind, subject: id,
      cloudevents: false, start: "17", heartbeat: 30, message_limit: 65536, buffer_bytes: 131072, window: 100}
    ticks: {kind: websocket, url: "wss://feed.example.com/ws", type: t, subject: id, channel: c, subscribe: ["{}"],
      cursor: seq, cursor_parameter: after, heartbeat: 30, message_limit: 65536, buffer_bytes: 131072}
    trades: {kind: websocket, url: "wss://feed.example.com/ws", type: t, subject: id, channel: c, cursor: seq,
      resume: '{"after": cursor}'}
    bucket: {kind: file, path: "s3://bucket/in/*.csv", format: csv, mode: drop, type: t, subject: id, channel: c,
      remote: {options: {region: eu}, secrets: {key: secret}, timeout: 10}}
"""
