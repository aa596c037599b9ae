"""HTTP sources with every setting that there is; a part of the whole file."""

HTTP_SOURCES = """\
    tickets:
      kind: http
      url: https://api.example/tickets?per_page=100
      type: ticket.updated
      channel: tickets
      format: csv
      delimiter: ";"
      records: items
      id: id
      subject: customer
      time: at
      version: rev
      pagination: {kind: page, parameter: page, first: 1, more: page < pages, reread: true}
      max_pages: 100
      changes: {kind: time, parameter: since, format: unix, overlap: 60, start: "2026-01-01T00:00:00Z", ascending: true,
        window_limit: 1000}
      record_limit: 1048576
      headers: {Accept: text/csv}
      auth: {kind: oauth2, token_url: https://login.example/token, client_id: trelay, client_secret: secret,
        scope: read, parameters: {audience: api}, credentials: body}
      tls: {ca_file: ca.pem, cert_file: own.pem, key_file: own.key, key_password: secret}
      network: {allow: [10.0.0.0/8, api.internal], private: true}
      rate: {requests: 10, seconds: 60, burst: 2}
      timeout: 20
      longest_hold: 3600
      response_limit: 1048576
      propagate_trace: true
    goods:
      kind: http
      url: http://10.0.0.1/prices
      network: {private: true}
      type: price.changed
      channel: prices
      id: sku
      auth: {kind: basic, username: trelay, password: secret}
      pagination: {kind: offset, parameter: offset, overlap: 5, more: has_more}
      changes: {kind: snapshot, deletes: true, deleted_type: price.removed, confirm_deletes: 2, allow_empty: false,
        limit: 1000}
    log:
      kind: http
      url: https://api.example/log
      type: log.entry
      channel: log
      id: id
      auth: {kind: api_key, name: key, value: secret, place: query}
      pagination: {kind: cursor, cursor: meta.next, parameter: cursor}
      changes: {kind: cursor, cursor: "items[-1].id", parameter: after, start: "0", window: 100,
        on_expired: restart}
    linked:
      kind: http
      url: https://api.example/linked
      type: t
      channel: linked
      id: id
      auth: {kind: bearer, token: secret}
      pagination: {kind: link, reread: false}
    urls:
      kind: http
      url: https://api.example/urls
      type: t
      channel: urls
      id: id
      pagination: {kind: next, url: links.next, reread: true}
"""
