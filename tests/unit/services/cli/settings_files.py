"""Settings files, valid and invalid, on which  and validators of JSON Schema must agree."""

from tests.unit.services.cli.settings_of_experience import EXPERIENCE
from tests.unit.services.cli.settings_of_http import HTTP_SOURCES
from tests.unit.services.cli.settings_of_pushed import PUSHED_SOURCES
from tests.unit.services.cli.settings_of_queues import QUEUE_SOURCES
from tests.unit.services.cli.settings_of_steps import STEPS
from tests.unit.services.cli.settings_of_tables import TABLE_SOURCES
from tests.unit.services.cli.settings_of_telemetry import RIGHT_TELEMETRY, TELEMETRY, WRONG_TELEMETRY

WHOLE = """\
database: {url: "postgresql://trelay@db:5432/trelay", password: secret, tls: {ca_file: ca.pem, verify: true},
  pool_size: 4, connect_timeout: 5, statement_timeout: 15.5}
bus:
  kind: kafka
  servers: kafka-0:9092, kafka-1:9092
  topics: {prefix: trelay, partitions: 4, replicas: 3, retention_hours: 168, dead_letter_retention_hours: 2160,
    audit_retention_hours: 2160, largest_frame: 1048576}
  security_protocol: SASL_SSL
  ca_file: ca.pem
  cert_file: own.pem
  key_file: own.key
  key_password: secret
  sasl_mechanism: PLAIN
  user: trelay
  password: {file: password.txt}
  compression: zstd
  request_timeout: 5
  delivery_timeout: 15
  session_timeout: 10
alerts:
  smtp: {host: mail, port: 587, security: starttls, ca_file: ca.pem, user: trelay, password: secret, timeout: 15}
  sender: trelay@localhost
  recipients: [devops@example.com]
  notify: ["json://127.0.0.1/hook", {file: password.txt}]
  name: "Orders: Köln/1"
  group_wait: 5
  resolve_wait: 60
  repeat_interval: 3600
  mails_per_hour: 10
  spool: spool
  max_unsent: 100
logs: {format: text, level: debug, loggers: {aiohttp: warning}}
system:
  listen: {host: 127.0.0.1, port: 8081, health: {host: 127.0.0.1, port: 9081}, backlog: 10, body_limit: 2048,
    limits: {header_timeout: 10, keepalive_timeout: 75, max_idle_per_address: 100, max_idle: 5000},
    shutdown_timeout: 5}
  node: system-0
  lease_seconds: 6
  watermark_interval: 10
  operators: {oncall: {token: 0123456789abcdef0123456789abcdef}}
  sources:
    stock:
      kind: file
      path: stock/*.csv
      format: csv
      compression: none
      encoding: latin-1
      mode: drop
      type: stock.level
      subject: sku
      time: at
      channel: stock.eu
      interval: 1
      batch: 1000
      poll_timeout: 60
      retry: {attempts: 3, first_wait: 0.1, longest_wait: 1, probe_interval: 60, give_up_after: 60}
      line_limit: 1048576
      forget_hours: 24
      skip_lines: 1
      origin: [file, line]
      csv:
        {delimiter: ";", quotes: true, quote: "'", escape: "~", nulls: ["NULL"], decimal: ",", ragged: pad,
         header: true, columns: [sku, at, level], types: {level: integer}}
      drop: {ready: done-file, stable_seconds: 1, done_suffix: .ok, after: archive, archive: done, receipt: true}
    access: {kind: file, path: access.ndjson, format: ndjson, rotated: old/*, type: t, subject: id, channel: access}
    teams: {kind: table, url: "sqlite:///a.db", table: teams, key: id, mode: diff, diff_limit: 1000, deleted_type: gone,
      type: t, channel: teams}
    outbox: {kind: table, url: "postgresql://a@db/a", table: outbox, key: id, mode: outbox, published_column: sent,
      type: t, channel: outbox}
    catalog:
      kind: file
      path: catalog/*.json.zip
      format: json
      compression: zip
      records: data.items
      zip: {members: "*.json"}
      mode: drop
      type: item.listed
      subject: id
      channel: catalog
    prices:
      kind: file
      path: prices/*.xml
      format: xml
      records: /prices/price
      xml: {lists: [price]}
      mode: drop
      type: price.changed
      subject: id
      channel: prices
    staff:
      kind: file
      path: staff/*.xlsx
      format: excel
      excel: {sheet: Staff, skip_rows: 2}
      mode: drop
      type: person.joined
      subject: id
      channel: staff
    weblog:
      kind: file
      path: access.log
      format: text
      text: {pattern: '(?P<client>\\S+) (?P<status>\\d+)', types: {status: integer}}
      type: page.requested
      subject: client
      channel: access
    bookings:
      kind: file
      path: bookings.dat
      format: fixed
      fixed: {columns: {account: 1-10, amount: 11-20}, types: {amount: number}}
      type: booking.made
      subject: account
      channel: bookings
    clicks: {kind: file, path: in/clicks.ndjson, format: ndjson, rotated: old/clicks.*, type: t, subject: id,
      channel: c}
    tariffs: {kind: table, url: "sqlite:///t.db", table: t, mode: diff, diff_limit: 1000, type: t, channel: c,
      deleted_type: t.removed}
    orders:
      kind: table
      url: postgresql://trelay@db/shop
      password: secret
      tls: {ca_file: ca.pem, verify: true}
      table: shop.orders
      key: id
      updated_at_column: updated_at
      subject: id
      columns: [id, amount]
      time_zone: Europe/Berlin
      overlap: 0
      early_limit: 10000
      row_limit: 1048576
      notify: orders_changed
      type: order.updated
"""
WHOLE += PUSHED_SOURCES
WHOLE += HTTP_SOURCES + QUEUE_SOURCES + TABLE_SOURCES
WHOLE += """\
process:
  listen: {port: 8082, hosts: [localhost, "*.example.com"]}
  operators: {oncall: {token: 0123456789abcdef0123456789abcdef}}
  node: process-0
  state: {directory: state}
  lists: {large: {parameters: {limit: number}, steps: [{filter: "amount > {{limit}}"}]}}
  transaction: {events: 1000, bytes: 4194304, seconds: 0.1}
  pipelines:
    orders:
      sources: [orders, "ord*"]
      channel: orders.all
      steps:
        - filter: amount > 100
        - set: {data.region: eu, subject: =customer.id, "data.`first name`": [1, {a: null}]}
        - drop: [data.card, data.customer.email]
        - drop: data.secret
        - rename: {data.cust: data.customer, data.kind: type}
        - validate: {type: object}
        - validate: order.json
        - map: "{'id': id}"
        - route: {by: region, table: {eu: orders.eu}, default: orders.other}
        - route: '"orders." & region'
        - python: copy:copy
"""
WHOLE += STEPS
WHOLE += EXPERIENCE
WHOLE += TELEMETRY
"""Every setting that there is, but for those of the other kind of bus."""


EMPTY = ["", "# nothing but a comment", "{}", "system:"]
"""Settings with nothing but defaults: services start with them, and `check` refuses them, for nothing would run."""


RIGHT = [
    "bus: {kind: postgres}",
    "bus: {kind: kafka, servers: '[::1]:9092'}",
    "bus: {kind: '${BUS:-postgres}'}",
    "system: {deliver: {url: 'https://relay/entity', batch_events: 500, batch_bytes: 524288, timeout: 3, state: a}}",
    "system: {deliver: {url: 'http://127.0.0.1:8080/entity', ca_file: ca.pem, retry: {attempts: 8}}}",
    "system: {deliver: {url: 'https://relay/entity', token: secret, cert_file: own.pem, key_file: own.key}}",
    "experience: {listen: {port: '${PORT:-8080}'}}",
    "experience: {tokens: {expires_after_days_disconnected: 0.5}}",
    "experience: {tokens: {key_folder: /run/secrets/trelay/tokens, sign_after: 0}}",
    "experience: {entity: {producers: {a: {tokens: ['0123456789abcdef01234567'], channels: ['**']}}}}",
    "experience: {listen: {port: 8080.0}}",
    "experience: {admin: {}}",
    "experience: {admin: {operators: {oncall: {token: '0123456789abcdef01234567'}}}}",
    "logs: {format: '${FORMAT:-json}'}",
    "alerts: {name: 'Köln: Büro/1'}",
    "alerts: {sender: 'a+b@é.example'}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, channel: a, csv: {header: true}}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, channel: a, csv: {header: '${H:-yes}'}}}}",
    "system: {sources: {a: {kind: table, url: 'sqlite:///a.db', table: t, type: t, channel: a-b_c.D1}}}",
    "process: {pipelines: {a: {sources: ['*'], channel: a, steps: [{set: {'data.é': 1, subject: =id}}]}}}",
    *RIGHT_TELEMETRY,
]


WRONG = [
    "[]",
    "text",
    "sistem: {}",
    "system: []",
    "bus: {}",
    "bus: {kind: rabbit}",
    "system: {deliver: {url: relay.example.com}}",
    "system: {deliver: {url: 'https://user:secret@relay.example.com/entity'}}",
    "system: {deliver: {}}",
    "bus: {kind: kafka, servers: nowhere}",
    "bus: {kind: postgres, servers: 'a:1'}",
    "bus: {kind: postgres, topics: {prefix: 'a b'}}",
    "experience: {listen: {port: yes}}",
    "experience: {listen: {port: '8080'}}",
    "experience: {listen: {port: true}}",
    "experience: {listen: {port: 8080.5}}",
    "experience: {listen: {port: 65536}}",
    "experience: {listen: {port: null}}",
    "experience: {listen: {port: '$${PORT}'}}",
    "experience: {tokens: {expires_after_days_disconnected: 0}}",
    "experience: {tokens: {expires_after_days_disconnected: 40000}}",
    "experience: {trusted_proxies: [localhost]}",
    "experience: {origins: [app.example.com]}",
    "experience: {listen: {hosts: ['a b']}}",
    "experience: {entity: {allow: ['10.0.0.0/8 ']}}",
    "experience: {entity: {producers: {a: {tokens: ['0123456789abcdef01234567']}}}}",
    "experience: {entity: {producers: {a: {tokens: ['0123456789abcdef01234567'], channels: []}}}}",
    "experience: {entity: {producers: {a: {tokens: ['0123456789abcdef01234567'], channels: ['a..b']}}}}",
    "experience: {latest: {channels: [a..b]}}",
    "experience: {latest: {}}",
    "experience: {admin: true}",
    "experience: {admin: {operators: {oncall: {certificates: ['a b']}}}}",
    "experience: {admin: {token: '0123456789abcdef01234567'}}",
    "logs: {format: xml}",
    "logs: {loggers: {aiohttp: loud}}",
    "alerts: {name: 'a\"b'}",
    "alerts: {name: ''}",
    "alerts: {sender: 'Trelay <trelay@example.com>'}",
    'alerts: {sender: "a\\"b@example.com"}',
    "database: {url: 'mysql://db/trelay'}",
    "database: {tls: {verify: no}}",
    "system: {sources: {Orders: {kind: file, path: a.csv, type: t, subject: id}}}",
    "system: {sources: {a: {path: a.csv, type: t, subject: id}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, channel: a b}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, channel: a..b}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, csv: {header: yes}}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, csv: {header: 1}}}}",
    "system: {sources: {a: {kind: file, path: a.csv, type: t, subject: id, csv: {delimiter: '||'}}}}",
    "system: {sources: {a: {kind: table, url: 'sqlite:///a.db', table: t, type: t, key: 5}}}",
    "system: {sources: {a: {kind: table, url: 'db2://db/a', table: t, type: t}}}",
    "process: {pipelines: {A: {sources: [a]}}}",
    "process: {pipelines: {a: {}}}",
    "process: {pipelines: {a: {sources: []}}}",
    "process: {pipelines: {a: {sources: [a], channel: a/b}}}",
    "process: {pipelines: {a: {sources: [a], chanel: a}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{filtr: a}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [filter]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{filter: a, map: b}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{filter: ''}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{set: {}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{set: {id: 1}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{set: {a.b: 1}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{set: {data..a: 1}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{drop: type}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{drop: []}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{rename: {data.a: source}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{route: {by: a, table: {x: 'a b'}}}]}}}",
    "process: {pipelines: {a: {sources: [a], steps: [{python: no function}]}}}",
    *WRONG_TELEMETRY,
]
