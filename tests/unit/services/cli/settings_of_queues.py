"""Queues and topics with every setting that there is; a part of the whole file."""

QUEUE_SOURCES = """\
    parcels:
      kind: rabbitmq
      url: amqps://trelay@rabbit:5671/shop
      password: secret
      tls: {ca_file: ca.pem, cert_file: own.pem, key_file: own.key}
      queue: parcels
      dedupe_window: 10000
      exclusive: true
      heartbeat: 10
      accept: [message_ttl]
      subject: {header: parcel}
      content: json
      cloudevents: true
      message_limit: 1048576
      max_deliveries: 5
      prefetch: 1000
      prefetch_bytes: 16777216
      connect_timeout: 10
      channel: parcels
      type: parcel.moved
    positions: {kind: rabbitmq, url: amqp://rabbit, stream: positions, start: latest, subject: {key: true}, channel: p,
      type: parcel.position}
    payments: {kind: nats, url: "tls://n1:4222,n2:4222", token: secret, stream: PAYMENTS, filter: payments.eu.>,
      consumer: trelay, start: latest, ack_wait: 60, accept: [no_ack], subject: payment.id, channel: payments,
      type: payment.made}
    parts: {kind: sqs, url: "https://sqs.eu-central-1.amazonaws.com/123456789012/parts.fifo", region: eu-central-1,
      access_key_id: key, secret_access_key: secret, session_token: token, visibility_timeout: 60, long_poll: 10,
      dedupe_window: 100, tls: {ca_file: ca.pem}, network: {allow: [10.0.0.0/8], private: false},
      accept: [retention], channel: parts, type: part.moved}
    plant: {kind: mqtt, url: "mqtts://trelay@m:8883", password: secret, topics: [plant/+/temperature, "alarms/#"],
      share: trelay, client_id: trelay-plant, session_expiry: 86400, message_id: id, dedupe_window: 100, keepalive: 10,
      accept: [session_expiry], channel: plant, type: reading.taken}
    ledger: {kind: redis, url: "rediss://trelay@r:6380/2", password: secret, tls: {ca_file: ca.pem}, stream: ledger,
      group: trelay, field: data, start: latest, accept: [no_aof], channel: ledger, type: entry.made}
    shipments: {kind: kafka, servers: "k1:9093,k2:9093", security_protocol: SASL_SSL, user: trelay, password: secret,
      ca_file: /etc/ca.pem, topics: [shipments, returns], start: latest, group: trelay, accept: [compacted],
      channel: shipments, type: shipment.changed}
    archive: {kind: kafka, servers: "k1:9092", pattern: "archive[.].*", channel: archive, type: record.archived}
"""
