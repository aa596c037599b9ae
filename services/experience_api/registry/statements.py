"""The SQL statements of the registry that do several things atomically, for asyncpg.

A claim is valid exactly while the lease `node/<its node>` runs under the epoch it was claimed under. So a node renews
one row, not one per connection, and all claims of a dead node are free the moment that row expires.
"""

_CLIENTS = """
SELECT clients.*, coalesce(previous_secret_until > now(), false) AS overlaps FROM trelay.clients
"""
FIND = f"{_CLIENTS} WHERE client_id = $1"

# $1 the id before the first one, $2 how many at most, null for all.
PAGE = f"{_CLIENTS} WHERE client_id > $1 ORDER BY client_id LIMIT $2"

# $1 client, $2 hash of its new secret, $3 how long the one before remains valid.
ROTATE = """
UPDATE trelay.clients SET
    secret_hash = $2,
    previous_secret_hash = CASE WHEN $3::interval > interval '0' THEN secret_hash END,
    previous_secret_until = CASE WHEN $3::interval > interval '0' THEN now() + $3::interval END
WHERE client_id = $1
RETURNING client_id
"""

FORGET_SECRETS = """
UPDATE trelay.clients SET previous_secret_hash = NULL, previous_secret_until = NULL
WHERE previous_secret_until <= now()
"""

# The consumer is locked first, then its client. A concurrent registration, removal, disabling, release or claim waits
# here, and PostgreSQL reads a locked row again after the wait: so no claim is granted on stale data.
#
# $1 client, $2 hash of its token, $3 connection, $4 node, $5 its epoch, $6 address, $7 whether that is the loopback,
# $8 how long a token is valid, $9 connection to displace or null, $10 and $11 channel and text of the notice for it.
CLAIM = """
WITH consumer AS (
    SELECT client_id, last_seen_at
    FROM trelay.consumers
    WHERE client_id = $1::text
        AND (token_hash = $2::bytea OR (previous_token_hash = $2::bytea AND previous_until > now()))
    FOR UPDATE
),
client AS (
    SELECT
        clients.client_id,
        clients.channels,
        clients.may_send,
        clients.disabled,
        clients.loopback_only,
        clients.policy,
        consumer.last_seen_at
    FROM consumer
    JOIN trelay.clients ON clients.client_id = consumer.client_id
    FOR SHARE OF clients
),
request AS (
    SELECT
        client.*,
        greatest(
            client.last_seen_at,
            -- A claim that was never released: its node's lease tells until when it was connected. Under a later
            -- epoch the node has restarted and the moment is unknown: then now, in favour of the consumer.
            (
                SELECT least(leases.expires_at, now())
                FROM trelay.connections
                JOIN trelay.leases
                    ON leases.name = 'node/' || connections.node AND leases.epoch >= connections.node_epoch
                WHERE connections.client_id = client.client_id
            )
        ) > now() - $8::interval AS good,
        EXISTS (
            SELECT FROM trelay.leases
            WHERE leases.name = 'node/' || $4::text AND leases.epoch = $5::bigint AND leases.expires_at > now()
        ) AS leased
    FROM client
),
claimed AS (
    INSERT INTO trelay.connections AS held (client_id, connection_id, node, node_epoch, epoch, remote, token_hash)
    SELECT client_id, $3::uuid, $4::text, $5::bigint, 1, $6::text, $2::bytea
    FROM request
    WHERE good AND leased AND NOT disabled AND ($7::boolean OR NOT loopback_only)
    ON CONFLICT (client_id) DO UPDATE SET
        connection_id = excluded.connection_id,
        node = excluded.node,
        node_epoch = excluded.node_epoch,
        epoch = held.epoch + 1,
        remote = excluded.remote,
        token_hash = excluded.token_hash,
        connected_at = now()
    WHERE held.connection_id = $9::uuid OR NOT EXISTS (
        SELECT FROM trelay.leases
        WHERE leases.name = 'node/' || held.node
            AND leases.epoch = held.node_epoch
            AND leases.expires_at > now()
    )
    RETURNING client_id, epoch
),
seen AS (
    UPDATE trelay.consumers SET last_seen_at = now() FROM claimed WHERE consumers.client_id = claimed.client_id
),
noticed AS (
    INSERT INTO trelay.connection_notices (node, notice)
    SELECT held.node, $11::text
    FROM claimed
    JOIN trelay.connections AS held ON held.client_id = claimed.client_id
    WHERE held.connection_id = $9::uuid
)
SELECT
    request.*,
    claimed.epoch,
    held.connection_id AS holder,
    held.node AS holder_node,
    held.remote AS holder_remote,
    held.connected_at AS holder_since,
    CASE WHEN claimed.epoch IS NOT NULL AND held.connection_id = $9::uuid THEN pg_notify($10::text, $11::text) END
FROM request
LEFT JOIN claimed ON claimed.client_id = request.client_id
LEFT JOIN trelay.connections AS held ON held.client_id = request.client_id
"""

# $1 clients, $2 the hash of the token of each, $3 how long a token is valid.
INVALID = """
SELECT
    asked.client_id,
    asked.token_hash,
    consumers.token_hash IS NOT NULL AND clients.client_id IS NOT NULL AS known,
    coalesce(clients.disabled, false) AS disabled,
    greatest(
        consumers.last_seen_at,
        -- As in a claim: the lease of the node tells if the connection was never released.
        (
            SELECT least(leases.expires_at, now())
            FROM trelay.connections
            JOIN trelay.leases
                ON leases.name = 'node/' || connections.node AND leases.epoch >= connections.node_epoch
            WHERE connections.client_id = asked.client_id
        )
    ) > now() - $3::interval AS good
FROM unnest($1::text[], $2::bytea[]) AS asked (client_id, token_hash)
LEFT JOIN trelay.consumers
    ON consumers.client_id = asked.client_id
    AND (
        consumers.token_hash = asked.token_hash
        OR (consumers.previous_token_hash = asked.token_hash AND consumers.previous_until > now())
    )
LEFT JOIN trelay.clients ON clients.client_id = asked.client_id
"""

# Older than any clock of a replica is wrong by: until then a ticket has expired, whichever replica looks.
USE_TICKET = """
WITH expired AS (
    DELETE FROM trelay.used_tickets WHERE used_at < now() - interval '10 minutes'
)
INSERT INTO trelay.used_tickets (ticket_hash) VALUES ($1) ON CONFLICT DO NOTHING RETURNING ticket_hash
"""

RELEASE = """
WITH consumer AS (
    SELECT client_id FROM trelay.consumers WHERE client_id = $1 FOR UPDATE
),
released AS (
    DELETE FROM trelay.connections USING consumer
    WHERE connections.client_id = consumer.client_id AND connections.connection_id = $2
    RETURNING connections.client_id
)
UPDATE trelay.consumers SET last_seen_at = now() FROM released WHERE consumers.client_id = released.client_id
"""

# $1 how long a node must have been dead.
#
# SKIP LOCKED: a consumer with a claim or release in progress needs no cleaning up.
RELEASE_DEAD = """
WITH dead AS (
    SELECT connections.client_id, connections.connection_id, least(leases.expires_at, now()) AS seen_at
    FROM trelay.consumers
    JOIN trelay.connections ON connections.client_id = consumers.client_id
    LEFT JOIN trelay.leases ON leases.name = 'node/' || connections.node
    WHERE leases.epoch IS DISTINCT FROM connections.node_epoch OR leases.expires_at <= now() - $1::interval
    FOR UPDATE OF consumers SKIP LOCKED
),
released AS (
    DELETE FROM trelay.connections USING dead
    WHERE connections.client_id = dead.client_id AND connections.connection_id = dead.connection_id
    RETURNING connections.client_id, dead.seen_at
)
UPDATE trelay.consumers SET last_seen_at = greatest(consumers.last_seen_at, released.seen_at)
FROM released WHERE consumers.client_id = released.client_id
RETURNING consumers.client_id
"""

# $1 the id before the first one, $2 how many at most, $3 one client, or null for all.
CONSUMERS = """
SELECT
    consumers.client_id,
    consumers.registered_at,
    consumers.last_seen_at,
    living.connection_id,
    living.node,
    living.remote,
    living.connected_at
FROM (
    SELECT * FROM trelay.consumers
    WHERE client_id > $1 AND ($3::text IS NULL OR client_id = $3)
    ORDER BY client_id
    LIMIT $2
) AS consumers
LEFT JOIN (
    SELECT connections.*
    FROM trelay.connections
    JOIN trelay.leases ON leases.name = 'node/' || connections.node AND leases.epoch = connections.node_epoch
    WHERE leases.expires_at > now()
) AS living ON living.client_id = consumers.client_id
ORDER BY consumers.client_id, living.connected_at
"""

# $1 connection, $2 and $3 channel and text of the notice for it.
DISCONNECT = """
WITH consumer AS (
    SELECT consumers.client_id
    FROM trelay.consumers
    JOIN trelay.connections ON connections.client_id = consumers.client_id
    WHERE connections.connection_id = $1
    FOR UPDATE OF consumers
),
lost AS (
    DELETE FROM trelay.connections USING consumer
    WHERE connections.client_id = consumer.client_id AND connections.connection_id = $1
    RETURNING connections.client_id, connections.node
),
seen AS (
    UPDATE trelay.consumers SET last_seen_at = now() FROM lost WHERE consumers.client_id = lost.client_id
),
noticed AS (
    INSERT INTO trelay.connection_notices (node, notice) SELECT node, $3::text FROM lost
)
SELECT client_id, pg_notify($2::text, $3::text) FROM lost
"""

HELD_BY = "SELECT connection_id, client_id FROM trelay.connections WHERE node = $1 AND node_epoch = $2"

CONNECTED = """
SELECT connections.client_id
FROM trelay.connections
JOIN trelay.leases ON leases.name = 'node/' || connections.node AND leases.epoch = connections.node_epoch
WHERE connections.client_id = ANY($1::text[]) AND leases.expires_at > now()
"""

# A replica with a generated name leaves its lease behind. It is not needed once no claim refers to it.
DELETE_NODES = """
DELETE FROM trelay.leases
WHERE starts_with(name, 'node/')
    AND expires_at < now() - interval '1 day'
    AND NOT EXISTS (SELECT FROM trelay.connections WHERE 'node/' || connections.node = leases.name)
"""

# $1 node, the only one that these notices concern.
TAKE_NOTICES = "DELETE FROM trelay.connection_notices WHERE node = $1 RETURNING notice_id, notice"

# Of replicas that are gone.
DELETE_NOTICES = "DELETE FROM trelay.connection_notices WHERE written_at < now() - interval '1 hour'"

CHANNELS = "SELECT client_id, channels FROM trelay.clients WHERE client_id = ANY($1::text[])"

HOLDER = "SELECT node FROM trelay.connections WHERE client_id = $1 AND connection_id = $2"

ENDED_OVERLAPS = "SELECT client_id FROM trelay.consumers WHERE previous_until <= now()"
