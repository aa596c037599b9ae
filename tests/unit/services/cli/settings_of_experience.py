"""Every setting of the experience layer, for the test of verdicts."""

EXPERIENCE = """\
experience:
  listen: {port: 8080, tls: {cert_file: own.pem, key_file: own.key, key_password: secret, client_ca_file: ca.pem,
    reload_interval: 10}}
  trusted_proxies: [10.0.0.0/8, "fd00::/8"]
  origins: [https://app.example.com, "http://localhost:3000"]
  tokens: {issuer: trelay, keys: [{id: k1, secret: 0123456789abcdef0123456789abcdef}],
    expires_after_days_disconnected: 30, registration_overlap: 60, sign_after: 300}
  secrets: {threads: 1, queue: 16, cache_ttl: 30, cache_size: 1000, guesses: 20, guesses_per_second: 2,
    known_ttl: 86400, known_size: 10000}
  handshakes: {failures: 50, failures_per_second: 1, addresses: 100, max_concurrent: 100, retry_after: 1}
  registrations: {failures: 20}
  connections: {node: experience-0, lease_seconds: 30, probe_timeout: 1.5, reconcile_interval: 60,
    revocation_interval: 1}
  entity: {allow: [127.0.0.1], body_timeout: 30, timeout: 10, batch_limit: 1000, source: /sources/entity, type: e.p,
    once: {window_hours: 24, keys_limit: 1000000, by_event: true},
    producers: {shop: {tokens: [0123456789abcdef0123456789abcdef], certificates: [shop.example.com],
    channels: [orders.**, "stock.*"]}}}
  presence: {enabled: true, left_after: 60}
  admin:
    listen: {host: 127.0.0.1, port: 8083, tls: {cert_file: own.pem, key_file: own.key, key_password: secret,
      client_ca_file: ca.pem}}
    operators: {oncall: {token: 0123456789abcdef0123456789abcdef, certificates: [oncall.example.com]}}
  audit: {interval: 10}
  latest: {channels: [orders.**, "stock.*"], deleted_types: ["*.deleted"], interval: 0.5, readers: 2,
    page_bytes: 131072}
  delivery:
    feed: {preload: 5000}
    history: {limit_bytes: 1048576}
    hub: {outbox_bytes: 1048576, heartbeat: {seconds: 25}}
    catch_up: {log_reader: {readers: 8, chunk_bytes: 1048576}, drain_timeout: 30}
    compression: {enabled: true, min_bytes: 512, level: 6, except_user_agents: [Safari/]}
    drain: {wave: 200, pause: 0.2, reconnects_per_second: 200, spread: 4}
    close_timeout: 5
    inbound_bytes: 262144
    inbound_per_second: 50
  drain_delay: 5
  drain_within: 15
"""
