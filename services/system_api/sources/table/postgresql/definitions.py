"""The SQL statements that read the definition of a table from PostgreSQL's catalog. $1 is its oid."""

COLUMNS = r"""
    SELECT a.attname AS name, a.attnotnull AS filled, c.relkind::text AS kind,
           quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS relation,
           format_type(y.oid, NULL) AS type,
           format_type(CASE y.typtype WHEN 'd' THEN y.typbasetype ELSE y.oid END, NULL) AS beneath,
           format_type(a.atttypid, a.atttypmod) AS cast,
           pg_column_is_updatable(c.oid, a.attnum, false) AS updatable,
           i.leads, s.*
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type y ON y.oid = a.atttypid
    LEFT JOIN LATERAL (
        SELECT bool_or(x.indkey[0] = a.attnum) AS leads
        FROM pg_index x
        WHERE x.indrelid = c.oid AND x.indisvalid AND x.indpred IS NULL
    ) i ON true
    LEFT JOIN LATERAL (
        SELECT q.seqrelid AS sequence_oid, q.seqrelid::regclass::text AS sequence, q.seqincrement AS increment,
               q.seqcache AS cache, q.seqcycle AS cycle, has_sequence_privilege(q.seqrelid, 'SELECT') AS readable
        FROM pg_sequence q
        WHERE q.seqrelid IN (
            SELECT d.objid
            FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i'
              AND d.refobjid = c.oid AND d.refobjsubid = a.attnum
            UNION ALL
            -- An expression around the value, as in keys that begin with a time, does not grow like the sequence.
            SELECT d.refobjid
            FROM pg_attrdef f
            JOIN pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = f.oid
            WHERE f.adrelid = c.oid AND f.adnum = a.attnum AND d.refclassid = 'pg_class'::regclass
              AND pg_get_expr(f.adbin, f.adrelid) ~ $re$^\(*nextval\('([^']|'')*'::regclass\)\)*(::[a-z]+)?$$re$
        )
        LIMIT 1
    ) s ON true
    WHERE c.oid = $1
    ORDER BY a.attnum
"""

UNIQUE = """
    SELECT array_agg(a.attname::text ORDER BY k.place)
    FROM pg_index x
    CROSS JOIN LATERAL unnest(string_to_array(x.indkey::text, ' ')::int2[]) WITH ORDINALITY k (number, place)
    LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number
    WHERE x.indrelid = $1 AND x.indisunique AND x.indisvalid AND x.indpred IS NULL AND k.place <= x.indnkeyatts
    GROUP BY x.indexrelid, x.indisprimary
    HAVING bool_and(k.number > 0)
    ORDER BY x.indisprimary DESC, x.indexrelid
"""
"""The columns of each unique index, the primary key first. Indexes of expressions are left out."""

EXPRESSIONS = """
    SELECT pg_get_indexdef(x.indexrelid, 1, true) FROM pg_index x
    WHERE x.indrelid = $1 AND x.indisvalid AND x.indpred IS NULL AND x.indkey[0] = 0
"""
"""The first expression of each index that begins with one."""

_DELETABLE = 16

BENEATH = f"""
    SELECT min(d.refobjid::bigint)::oid
    FROM pg_rewrite r
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
    JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid AND c.relkind <> 'S'
    WHERE r.ev_class = $1 AND d.refobjid <> r.ev_class
      AND pg_relation_is_updatable(r.ev_class, false) & {_DELETABLE} <> 0
    HAVING count(DISTINCT d.refobjid) = 1
"""  # noqa: S608 -- a constant
"""The only table or view of a view that shows each of its rows once at most: then rows can be deleted through it."""

FILTERED = r"SELECT pg_get_viewdef($1::oid) ~* '\mWHERE\M'"
"""Whether a view shows only some of the rows."""
