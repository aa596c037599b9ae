"""The SQL statements of the registry that do several things atomically, for asyncpg.

A claim is valid exactly while the lease `node/<its node>` runs under the epoch it was claimed under. So a node renews
one row, not one per connection, and all claims of a dead node are free the moment that row expires.
"""

# ruff: noqa: S608 -- the parts are constants

from services.experience_api.registry.claim_statement import (
    HELD,
    LAST_HELD,
    LIVING,
    TOKENS,
    last_use,
    older,
    used,
    valid,
)
from services.experience_api.registry.clients import NO_CLOSE_FRAME, REPLICA_LOST, Policy

_CLIENT = f"""
SELECT
    clients.*,
    coalesce(previous_secret_until > now(), false) AS overlaps,
    {TOKENS} AS token_count,
    ended_at, ended_code, ended_reason, ended_after
"""
FIND = f"{_CLIENT} FROM trelay.clients LEFT JOIN trelay.consumers USING (client_id) WHERE client_id = $1"

# $1 the id before the first one, $2 how many at most, null for all.
#
# The page comes before the join, which would read the consumers from the first one on; and LIMIT 1 has each looked up,
# also in a plan that does not know how many a page has.
PAGE = f"""
{_CLIENT}
FROM (SELECT * FROM trelay.clients WHERE client_id > $1 ORDER BY client_id LIMIT $2) AS clients
LEFT JOIN LATERAL (SELECT * FROM trelay.consumers WHERE consumers.client_id = clients.client_id LIMIT 1) AS consumers
    ON true
ORDER BY clients.client_id
"""

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

# $1 clients, $2 the hash of the token of each, $3 how long a token is valid.
INVALID = f"""
SELECT
    asked.client_id,
    asked.token_hash,
    consumers.token_hash IS NOT NULL AND clients.client_id IS NOT NULL AS known,
    coalesce(clients.disabled, false) AS disabled,
    greatest(
        {last_use("asked.token_hash")},
        -- As in a claim.
        ({LAST_HELD} asked.client_id AND (NOT {older("asked.token_hash")} OR held.token_hash = asked.token_hash))
    ) > now() - $3::interval AS good
FROM unnest($1::text[], $2::bytea[]) AS asked (client_id, token_hash)
LEFT JOIN trelay.consumers
    ON consumers.client_id = asked.client_id
    AND {valid("asked.token_hash")}
LEFT JOIN trelay.clients ON clients.client_id = asked.client_id
"""

# $1 hash of the ticket, $2 when it expires.
#
# Ten minutes: replicas of the previous release issue tickets by their own clocks, which may be ahead. A few at a time,
# and none that another use deletes, so that no use waits.
USE_TICKET = """
WITH expired AS (
    DELETE FROM trelay.used_tickets WHERE ticket_hash = ANY(ARRAY(
        SELECT ticket_hash FROM trelay.used_tickets WHERE used_at < now() - interval '10 minutes'
        ORDER BY used_at LIMIT 100 FOR UPDATE SKIP LOCKED
    ))
)
INSERT INTO trelay.used_tickets (ticket_hash)
SELECT $1 WHERE clock_timestamp() < to_timestamp($2::double precision)
ON CONFLICT DO NOTHING
RETURNING ticket_hash
"""

TIME = "SELECT extract(epoch FROM clock_timestamp())::double precision"

# $1 client, $2 connection, $3 to $5 code, reason and duration of its ending, null if it has none.
RELEASE = f"""
WITH consumer AS (
    SELECT client_id FROM trelay.consumers WHERE client_id = $1 FOR UPDATE
),
released_first AS (
    DELETE FROM trelay.connections USING consumer
    WHERE connections.client_id = consumer.client_id AND connections.connection_id = $2
    RETURNING connections.client_id, connections.token_hash
),
released_extra AS (
    DELETE FROM trelay.extra_connections USING consumer
    WHERE extra_connections.client_id = consumer.client_id AND extra_connections.connection_id = $2
    RETURNING extra_connections.client_id, extra_connections.token_hash
),
released AS (
    SELECT * FROM released_first UNION ALL SELECT * FROM released_extra
)
UPDATE trelay.consumers SET
    last_seen_at = now(),
    tokens = {used("ARRAY[released.token_hash]")},
    ended_at = CASE WHEN $3::integer IS NULL THEN ended_at ELSE now() END,
    ended_code = coalesce($3::integer, ended_code),
    ended_reason = coalesce($4::text, ended_reason),
    ended_after = coalesce($5::double precision, ended_after)
FROM released WHERE consumers.client_id = released.client_id
"""

# $1 client, $2 to $4 code, reason and duration.
NOTE_ENDING = """
UPDATE trelay.consumers SET ended_at = now(), ended_code = $2, ended_reason = $3, ended_after = $4
WHERE client_id = $1
"""

# $1 how long a node must have been dead.
#
# SKIP LOCKED: a consumer with a claim or release in progress needs no cleaning up.
RELEASE_DEAD = f"""
WITH dead AS (
    SELECT held.client_id, held.connection_id, held.connected_at, least(leases.expires_at, now()) AS seen_at
    FROM trelay.consumers
    JOIN {HELD} AS held ON held.client_id = consumers.client_id
    LEFT JOIN trelay.leases ON leases.name = 'node/' || held.node
    WHERE leases.epoch IS DISTINCT FROM held.node_epoch OR leases.expires_at <= now() - $1::interval
    FOR UPDATE OF consumers SKIP LOCKED
),
released_first AS (
    DELETE FROM trelay.connections USING dead
    WHERE connections.client_id = dead.client_id AND connections.connection_id = dead.connection_id
    RETURNING connections.client_id, connections.token_hash, dead.seen_at, dead.connected_at
),
released_extra AS (
    DELETE FROM trelay.extra_connections USING dead
    WHERE extra_connections.client_id = dead.client_id AND extra_connections.connection_id = dead.connection_id
    RETURNING extra_connections.client_id, extra_connections.token_hash, dead.seen_at, dead.connected_at
),
released AS (
    SELECT * FROM released_first UNION ALL SELECT * FROM released_extra
),
seen AS (
    UPDATE trelay.consumers SET
        last_seen_at = greatest(consumers.last_seen_at, latest.seen_at),
        tokens = {used("latest.hashes", "latest.seen_at")},
        ended_at = latest.seen_at,
        ended_code = {NO_CLOSE_FRAME},
        ended_reason = '{REPLICA_LOST}',
        ended_after = greatest(0, extract(epoch FROM latest.seen_at - latest.connected_at))
    FROM (
        SELECT
            client_id,
            max(seen_at) AS seen_at,
            max(connected_at) AS connected_at,
            array_agg(token_hash) AS hashes
        FROM released
        GROUP BY client_id
    ) AS latest
    WHERE consumers.client_id = latest.client_id
)
SELECT client_id FROM released
"""

# $1 the id before the first one, $2 how many at most, $3 one client, or null for all.
CONSUMERS = f"""
SELECT
    consumers.client_id,
    consumers.registered_at,
    greatest(consumers.last_seen_at, ({LAST_HELD} consumers.client_id)) AS last_seen_at,
    {TOKENS} AS token_count,
    consumers.ended_at,
    consumers.ended_code,
    consumers.ended_reason,
    consumers.ended_after,
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
LEFT JOIN {LIVING} AS living ON living.client_id = consumers.client_id
ORDER BY consumers.client_id, living.connected_at, living.slot
"""

# $1 connection, $2 and $3 channel and text of the notice for it.
DISCONNECT = f"""
WITH consumer AS (
    SELECT consumers.client_id
    FROM trelay.consumers
    JOIN {HELD} AS held ON held.client_id = consumers.client_id
    WHERE held.connection_id = $1
    FOR UPDATE OF consumers
),
lost_first AS (
    DELETE FROM trelay.connections USING consumer
    WHERE connections.client_id = consumer.client_id AND connections.connection_id = $1
    RETURNING connections.client_id, connections.token_hash, connections.node
),
lost_extra AS (
    DELETE FROM trelay.extra_connections USING consumer
    WHERE extra_connections.client_id = consumer.client_id AND extra_connections.connection_id = $1
    RETURNING extra_connections.client_id, extra_connections.token_hash, extra_connections.node
),
lost AS (
    SELECT * FROM lost_first UNION ALL SELECT * FROM lost_extra
),
seen AS (
    UPDATE trelay.consumers SET last_seen_at = now(), tokens = {used("ARRAY[lost.token_hash]")}
    FROM lost WHERE consumers.client_id = lost.client_id
),
noticed AS (
    INSERT INTO trelay.connection_notices (node, notice) SELECT node, $3::text FROM lost
)
SELECT client_id, pg_notify($2::text, $3::text) FROM lost
"""

HELD_BY = f"SELECT connection_id, client_id FROM {HELD} AS held WHERE node = $1 AND node_epoch = $2"

# The connections that are too many, for SQLAlchemy: those that the policy would have refused, or have replaced.
SURPLUS = f"""
SELECT connection_id
FROM (
    SELECT
        living.connection_id,
        clients.max_connections,
        row_number() OVER (
            ORDER BY
                CASE WHEN clients.policy = '{Policy.REPLACE}' THEN living.connected_at END DESC,
                living.connected_at,
                living.slot
        ) AS place
    FROM {LIVING} AS living
    JOIN trelay.clients ON clients.client_id = living.client_id
    WHERE living.client_id = :client_id
) AS own
WHERE place > max_connections
"""

AT_LIMIT = f"""
SELECT living.client_id
FROM {LIVING} AS living
JOIN trelay.clients ON clients.client_id = living.client_id
WHERE living.client_id = ANY($1::text[])
GROUP BY living.client_id, clients.max_connections
HAVING count(*) >= clients.max_connections
"""

# A replica with a generated name leaves its lease behind. It is not needed once no claim refers to it.
DELETE_NODES = f"""
DELETE FROM trelay.leases
WHERE starts_with(name, 'node/')
    AND expires_at < now() - interval '1 day'
    AND NOT EXISTS (SELECT FROM {HELD} AS held WHERE 'node/' || held.node = leases.name)
"""

# $1 node, the only one that these notices concern.
TAKE_NOTICES = "DELETE FROM trelay.connection_notices WHERE node = $1 RETURNING notice_id, notice"

# Of replicas that are gone.
DELETE_NOTICES = "DELETE FROM trelay.connection_notices WHERE written_at < now() - interval '1 hour'"

CHANNELS = "SELECT client_id, channels FROM trelay.clients WHERE client_id = ANY($1::text[])"

HOLDER = f"SELECT node FROM {HELD} AS held WHERE client_id = $1 AND connection_id = $2"

ENDED_OVERLAPS = "SELECT client_id FROM trelay.consumers WHERE previous_until <= now()"
