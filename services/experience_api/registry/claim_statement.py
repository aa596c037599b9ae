"""The SQL statement that claims a connection of a client, and what others share with it.

A claim is valid exactly while the lease `node/<its node>` runs under the epoch it was claimed under. So a node renews
one row, not one per connection, and all claims of a dead node are free the moment that row expires.
"""

# ruff: noqa: S608 -- the parts are constants

from services.experience_api.registry.clients import NO_CLOSE_FRAME, REPLICA_LOST

# Every claim: the first one of each client, and those beyond it of clients that may have several.
HELD = """(
    SELECT client_id, 1 AS slot, connection_id, node, node_epoch, epoch, remote, connected_at, token_hash
    FROM trelay.connections
    UNION ALL
    SELECT client_id, slot, connection_id, node, node_epoch, epoch, remote, connected_at, token_hash
    FROM trelay.extra_connections
)"""
LIVING = f"""(
    SELECT held.*
    FROM {HELD} AS held
    JOIN trelay.leases ON leases.name = 'node/' || held.node AND leases.epoch = held.node_epoch
    WHERE leases.expires_at > now()
)"""


# When a client, to which the expression is compared that follows, last had a claim that was not released. The lease of
# the node tells: until now while the node lives, or until it was lost.
LAST_HELD = f"""
    SELECT max(least(leases.expires_at, now()))
    FROM {HELD} AS held
    JOIN trelay.leases ON leases.name = 'node/' || held.node AND leases.epoch >= held.node_epoch
    WHERE held.client_id ="""


def valid(token: str) -> str:
    """Return the condition that the hash `token` is that of a valid token of `consumers`."""
    return f"""(
        consumers.token_hash = {token}
        OR (consumers.previous_token_hash = {token} AND consumers.previous_until > now())
        -- A replica of the release before the one with several tokens does not add the newest.
        OR (consumers.tokens ? encode({token}, 'hex') AND consumers.tokens ? encode(consumers.token_hash, 'hex'))
    )"""


# How many tokens of `consumers` are `valid`, but for their age; 0 where there is no consumer.
TOKENS = """(
    SELECT count(DISTINCT token) FROM (
        SELECT encode(consumers.token_hash, 'hex') WHERE consumers.token_hash IS NOT NULL
        UNION ALL
        SELECT encode(consumers.previous_token_hash, 'hex') WHERE consumers.previous_until > now()
        UNION ALL
        SELECT jsonb_object_keys(consumers.tokens) WHERE consumers.tokens ? encode(consumers.token_hash, 'hex')
    ) AS own (token)
)"""


def older(token: str) -> str:
    """Return the condition that it is one of several tokens, and not the newest: it has its own days."""
    return f"coalesce(consumers.token_hash <> {token} AND consumers.tokens ? encode({token}, 'hex'), false)"


def last_use(token: str) -> str:
    """Return when `consumers` was connected last: with this token, if that is an older one."""
    return f"""CASE
        WHEN {older(token)} THEN to_timestamp((consumers.tokens ->> encode({token}, 'hex'))::double precision)
        ELSE consumers.last_seen_at
    END"""


def used(hashes: str, at: str = "now()") -> str:
    """Return the tokens of `consumers` after those with these hashes, an array, were used at a time.

    `hashes` is no query of its own: PostgreSQL evaluates this again if the row has changed, and cannot evaluate again
    what a part of the statement has deleted.
    """
    return f"""consumers.tokens || coalesce(
        (
            SELECT jsonb_object_agg(key, greatest(extract(epoch FROM {at})::double precision, value::double precision))
            FROM jsonb_each_text(consumers.tokens)
            WHERE decode(key, 'hex') = ANY({hashes})
        ),
        '{{}}'
    )"""


# The consumer is locked first, then its client. A concurrent registration, removal, disabling, release or claim waits
# here, and PostgreSQL reads a locked row again after the wait: so no claim is granted on stale data.
#
# The other tables are read as of the begin of the statement. A claim that was committed since is not seen, but takes
# the same slot, the lowest free one: then the row has a slot and no epoch, and the statement is tried again.
#
# $1 client, $2 hash of its token, $3 connection, $4 node, $5 its epoch, $6 address, $7 whether that is the loopback,
# $8 how long a token is valid, $9 connection to displace or null, $10 and $11 channel and text of the notice for it.
_GRANTED = "good AND leased AND NOT disabled AND ($7::boolean OR NOT loopback_only)"
_TAKE = """
        connection_id = excluded.connection_id,
        node = excluded.node,
        node_epoch = excluded.node_epoch,
        epoch = taken.epoch + 1,
        remote = excluded.remote,
        token_hash = excluded.token_hash,
        connected_at = now()
    WHERE taken.connection_id = $9::uuid OR NOT EXISTS (
        SELECT FROM trelay.leases
        WHERE leases.name = 'node/' || taken.node
            AND leases.epoch = taken.node_epoch
            AND leases.expires_at > now()
    )
"""
CLAIM = f"""
WITH consumer AS (
    SELECT client_id, {last_use("$2::bytea")} AS last_use, {older("$2::bytea")} AS older
    FROM trelay.consumers
    WHERE client_id = $1::text AND {valid("$2::bytea")}
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
        clients.max_connections,
        consumer.last_use,
        consumer.older
    FROM consumer
    JOIN trelay.clients ON clients.client_id = consumer.client_id
    FOR SHARE OF clients
),
held AS (
    SELECT * FROM {HELD} AS own WHERE client_id = $1::text
),
living AS (
    SELECT * FROM {LIVING} AS own WHERE client_id = $1::text
),
request AS (
    SELECT
        client.*,
        greatest(
            client.last_use,
            -- A claim that was never released: its node's lease tells until when it was connected. Under a later
            -- epoch the node has restarted and the moment is unknown: then now, in favour of the consumer.
            (
                SELECT max(least(leases.expires_at, now()))
                FROM held
                JOIN trelay.leases ON leases.name = 'node/' || held.node AND leases.epoch >= held.node_epoch
                WHERE NOT client.older OR held.token_hash = $2::bytea
            )
        ) > now() - $8::interval AS good,
        EXISTS (
            SELECT FROM trelay.leases
            WHERE leases.name = 'node/' || $4::text AND leases.epoch = $5::bigint AND leases.expires_at > now()
        ) AS leased,
        coalesce(
            (SELECT slot FROM living WHERE connection_id = $9::uuid),
            (
                SELECT min(number)
                FROM generate_series(1, client.max_connections) AS number
                WHERE number NOT IN (SELECT slot FROM living)
                    AND (SELECT count(*) FROM living) < client.max_connections
            )
        ) AS slot
    FROM client
),
claimed_first AS (
    INSERT INTO trelay.connections AS taken (client_id, connection_id, node, node_epoch, epoch, remote, token_hash)
    SELECT client_id, $3::uuid, $4::text, $5::bigint, 1, $6::text, $2::bytea
    FROM request
    WHERE slot = 1 AND {_GRANTED}
    ON CONFLICT (client_id) DO UPDATE SET {_TAKE}
    RETURNING client_id, 1 AS slot, epoch
),
claimed_extra AS (
    INSERT INTO trelay.extra_connections AS taken
        (client_id, slot, connection_id, node, node_epoch, epoch, remote, token_hash)
    SELECT client_id, slot, $3::uuid, $4::text, $5::bigint, 1, $6::text, $2::bytea
    FROM request
    WHERE slot > 1 AND {_GRANTED}
    ON CONFLICT (client_id, slot) DO UPDATE SET {_TAKE}
    RETURNING client_id, slot, epoch
),
claimed AS (
    SELECT * FROM claimed_first UNION ALL SELECT * FROM claimed_extra
),
-- The connection of a dead node whose slot this one takes.
abandoned AS (
    SELECT held.client_id, held.connected_at, least(coalesce(leases.expires_at, now()), now()) AS ended_at
    FROM claimed
    JOIN held ON held.slot = claimed.slot AND held.connection_id IS DISTINCT FROM $9::uuid
    LEFT JOIN trelay.leases ON leases.name = 'node/' || held.node AND leases.epoch = held.node_epoch
),
seen AS (
    UPDATE trelay.consumers SET
        last_seen_at = now(),
        tokens = {used("ARRAY[$2::bytea, before.token_hash]")},
        ended_at = coalesce(abandoned.ended_at, consumers.ended_at),
        ended_code = CASE WHEN abandoned.ended_at IS NULL THEN ended_code ELSE {NO_CLOSE_FRAME} END,
        ended_reason = CASE WHEN abandoned.ended_at IS NULL THEN ended_reason ELSE '{REPLICA_LOST}' END,
        ended_after = CASE
            WHEN abandoned.ended_at IS NULL THEN ended_after
            ELSE greatest(0, extract(epoch FROM abandoned.ended_at - abandoned.connected_at))
        END
    FROM claimed
    LEFT JOIN abandoned ON abandoned.client_id = claimed.client_id
    LEFT JOIN held AS before ON before.slot = claimed.slot
    WHERE consumers.client_id = claimed.client_id
),
noticed AS (
    INSERT INTO trelay.connection_notices (node, notice)
    SELECT held.node, $11::text
    FROM claimed
    JOIN held ON held.slot = claimed.slot
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
LEFT JOIN held ON CASE
    WHEN claimed.slot IS NULL THEN held.slot IN (SELECT slot FROM living)
    ELSE held.slot = claimed.slot
END
ORDER BY held.connected_at, held.slot
"""

# What follows in its transaction sees every claim of the consumer.
LOCK_CONSUMER = "SELECT FROM trelay.consumers WHERE client_id = $1 FOR UPDATE"
