"""The statements of the registry that do several things in one atomic step.

A connection is live exactly while the lease `node/<its node>` runs under the epoch that it was claimed under: so a
node renews one row, not one a connection, and what a dead node held is free the moment that one row expires.
"""

from sqlalchemy import BigInteger, Boolean, Interval, LargeBinary, Text, Uuid, bindparam, text

# The consumer is locked first, then its client. Whoever registers, forgets, disables, releases or claims the same one
# waits here, and what is locked is read again after the wait: so nobody gets a claim by what was true before it.
CLAIM = text("""
WITH consumer AS (
    SELECT client_id, last_seen_at
    FROM trelay.consumers
    WHERE client_id = :client_id AND token_hash = :token_hash
    FOR UPDATE
),
client AS (
    SELECT
        clients.client_id,
        clients.channels,
        clients.may_send,
        clients.disabled,
        clients.loopback_only,
        consumer.last_seen_at
    FROM consumer
    JOIN trelay.clients ON clients.client_id = consumer.client_id
    FOR SHARE OF clients
),
wish AS (
    SELECT
        client.*,
        greatest(
            client.last_seen_at,
            -- A claim that was never released: its node's lease tells until when it was connected. Under a later
            -- epoch the node has come back, and the moment is not known: then now, for the consumer's sake.
            (
                SELECT least(leases.expires_at, now())
                FROM trelay.connections
                JOIN trelay.leases
                    ON leases.name = 'node/' || connections.node AND leases.epoch >= connections.node_epoch
                WHERE connections.client_id = client.client_id
            )
        ) > now() - :good_for AS good,
        EXISTS (
            SELECT FROM trelay.leases
            WHERE leases.name = 'node/' || :node AND leases.epoch = :node_epoch AND leases.expires_at > now()
        ) AS leased
    FROM client
),
claimed AS (
    INSERT INTO trelay.connections AS held (client_id, connection_id, node, node_epoch, epoch, remote)
    SELECT client_id, :connection_id, :node, :node_epoch, 1, :remote
    FROM wish
    WHERE good AND leased AND NOT disabled AND (:loopback OR NOT loopback_only)
    ON CONFLICT (client_id) DO UPDATE SET
        connection_id = excluded.connection_id,
        node = excluded.node,
        node_epoch = excluded.node_epoch,
        epoch = held.epoch + 1,
        remote = excluded.remote,
        connected_at = now()
    WHERE held.connection_id = :instead_of OR NOT EXISTS (
        SELECT FROM trelay.leases
        WHERE leases.name = 'node/' || held.node
            AND leases.epoch = held.node_epoch
            AND leases.expires_at > now()
    )
    RETURNING client_id, epoch
),
seen AS (
    UPDATE trelay.consumers SET last_seen_at = now() FROM claimed WHERE consumers.client_id = claimed.client_id
)
SELECT
    wish.*,
    claimed.epoch,
    held.connection_id AS holder,
    held.node AS holder_node,
    CASE WHEN claimed.epoch IS NOT NULL AND held.connection_id = :instead_of THEN pg_notify(:channel, :notice) END
FROM wish
LEFT JOIN claimed ON claimed.client_id = wish.client_id
LEFT JOIN trelay.connections AS held ON held.client_id = wish.client_id
""").bindparams(
    bindparam("good_for", type_=Interval),
    bindparam("node_epoch", type_=BigInteger),
    bindparam("loopback", type_=Boolean),
    bindparam("instead_of", type_=Uuid),
    bindparam("connection_id", type_=Uuid),
    bindparam("token_hash", type_=LargeBinary),
    *(bindparam(name, type_=Text) for name in ("client_id", "node", "remote", "channel", "notice")),
)

RELEASE = text("""
WITH consumer AS (
    SELECT client_id FROM trelay.consumers WHERE client_id = :client_id FOR UPDATE
),
released AS (
    DELETE FROM trelay.connections USING consumer
    WHERE connections.client_id = consumer.client_id AND connections.connection_id = :connection_id
    RETURNING connections.client_id
)
UPDATE trelay.consumers SET last_seen_at = now() FROM released WHERE consumers.client_id = released.client_id
""").bindparams(bindparam("client_id", type_=Text), bindparam("connection_id", type_=Uuid))

# SKIP LOCKED: what somebody is about to claim or release needs no tidying.
SETTLE = text("""
WITH dead AS (
    SELECT connections.client_id, connections.connection_id, least(leases.expires_at, now()) AS seen_at
    FROM trelay.consumers
    JOIN trelay.connections ON connections.client_id = consumers.client_id
    LEFT JOIN trelay.leases ON leases.name = 'node/' || connections.node
    WHERE leases.epoch IS DISTINCT FROM connections.node_epoch OR leases.expires_at <= now()
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
""")
