"""Rows as JSON: the server makes it of the texts in the log, as it makes that of rows in every other mode."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import asyncpg

from services.system_api.sources.table.postgresql.connection import is_row_error
from services.system_api.sources.table.postgresql.replication.encoding import UTF8, Encoding
from services.system_api.sources.table.postgresql.replication.pgoutput import MISSING, Relation, Value, Values
from services.system_api.sources.table.sql import quoted

# A value that was valid when it was written may be so no longer: an enum has other labels now, or a domain another
# constraint. Their JSON is that of a text, and of the type beneath.
_TYPES = """
    SELECT CASE
        WHEN b.typtype = 'e' THEN 'text'
        WHEN e.typtype = 'e' THEN 'text[]'
        WHEN b.oid = c.type THEN format_type(c.type, CASE WHEN c.modifier >= 0 THEN c.modifier ELSE -1 END)
        ELSE format_type(coalesce(b.oid, c.type), -1)
    END
    FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY c (type, modifier, number)
    LEFT JOIN LATERAL (
        WITH RECURSIVE d (oid, typtype, typelem, typbasetype) AS (
            SELECT y.oid, y.typtype, y.typelem, y.typbasetype FROM pg_type y WHERE y.oid = c.type
            UNION ALL
            SELECT y.oid, y.typtype, y.typelem, y.typbasetype FROM d JOIN pg_type y ON y.oid = d.typbasetype
        )
        SELECT * FROM d WHERE d.typtype <> 'd'
    ) b ON true
    LEFT JOIN pg_type e ON e.oid = b.typelem
    ORDER BY c.number
"""
_BASES = """
    SELECT o.oid, (
        WITH RECURSIVE b (oid, typtype, beneath) AS (
            SELECT y.oid, y.typtype, y.typbasetype FROM pg_type y WHERE y.oid = o.oid
            UNION ALL
            SELECT y.oid, y.typtype, y.typbasetype FROM b JOIN pg_type y ON y.oid = b.beneath
        )
        SELECT oid FROM b WHERE typtype <> 'd'
    )
    FROM unnest($1::oid[]) o (oid)
"""
_UNKNOWN = "???"
_LARGEST_GROUP = 500


class Renderer:
    """Makes JSON of rows of one table."""

    def __init__(self) -> None:
        self._types: tuple[Relation, list[str]] | None = None

    async def rendered(
        self,
        connection: asyncpg.Connection,
        rows: Sequence[tuple[Relation, Sequence[int], Values]],
        encoding: Encoding = UTF8,
    ) -> list[tuple[bytes, str | None]]:
        """Return each row as a JSON object, and why it cannot be an event: an error of the server.

        A row is its definition, the numbers of the columns that are wanted, and its values. Those that are missing are
        left out. `encoding` is that of the texts.
        """
        # By identity: consecutive rows share their definition, and to hash one takes long.
        groups: dict[tuple[int, tuple[int, ...]], list[int]] = defaultdict(list)
        for number, (relation, wanted, values) in enumerate(rows):
            has = [column for column in wanted if values[column] is not MISSING]
            groups[id(relation), tuple(has)].append(number)
        found: list[tuple[bytes, str | None]] = [(b"{}", None)] * len(rows)
        for (_, present), numbers in groups.items():
            if not present:
                continue
            relation = rows[numbers[0]][0]
            types = await self._types_of(connection, relation)
            statement = _statement(relation, present, types, encoding)
            for begin in range(0, len(numbers), _LARGEST_GROUP):
                some = numbers[begin : begin + _LARGEST_GROUP]
                texts = [[rows[number][2][column] for number in some] for column in present]
                made = await _made(connection, statement, texts, bytes_array if encoding.raw else text_array)
                for number, result in zip(some, made, strict=True):
                    found[number] = result
        return found

    async def _types_of(self, connection: asyncpg.Connection, relation: Relation) -> list[str]:
        if self._types is None or (self._types[0] is not relation and self._types[0] != relation):
            oids = [column.type_oid for column in relation.columns]
            modifiers = [column.modifier for column in relation.columns]
            names = [row[0] for row in await connection.fetch(_TYPES, oids, modifiers)]
            # Of a type that was dropped meanwhile, the text is what is left.
            self._types = relation, ["text" if name == _UNKNOWN else name for name in names]
        return self._types[1]


async def base_types(connection: asyncpg.Connection, types: Iterable[int]) -> dict[int, int]:
    """Return the types beneath domains, and other types themselves, by their oids; of a dropped one its own."""
    return {oid: oid if base is None else base for oid, base in await connection.fetch(_BASES, list(types))}


async def _made(
    connection: asyncpg.Connection, statement: str, texts: list[list[Value]], array: Callable[[list[Value]], object]
) -> list[tuple[bytes, str | None]]:
    try:
        return [(row[0], None) for row in await connection.fetch(statement, *map(array, texts))]
    except asyncpg.PostgresError as exc:
        if not is_row_error(exc):
            raise
        if len(texts[0]) == 1:
            return [(b"{}", str(exc.args[0]))]
    return [
        result
        for number in range(len(texts[0]))
        for result in await _made(connection, statement, [[column[number]] for column in texts], array)
    ]


def _statement(relation: Relation, present: Sequence[int], types: Sequence[str], encoding: Encoding) -> str:
    named = [(place, types[number], quoted(relation.columns[number].name)) for place, number in enumerate(present)]
    sent, text = "text::text[]", "v.c{}"
    if encoding.raw:
        sent, text = "bytea[]", f"convert_from(v.c{{}}, '{encoding.server}')"
    columns = [f"{text.format(place)}::{type_} AS {name}" for place, type_, name in named]
    arrays = ", ".join(f"${place + 1}::{sent}" for place in range(len(present)))
    names = ", ".join(f"c{place}" for place in range(len(present)))
    return f"""
        SELECT convert_to((SELECT row_to_json(r.*) FROM (SELECT {", ".join(columns)}) r)::text, 'UTF8')
        FROM unnest({arrays}) WITH ORDINALITY v ({names}, n) ORDER BY v.n
    """  # noqa: S608 -- every name is quoted, types come from the catalog


def text_array(values: list[Value]) -> str:
    """Return texts in UTF-8 as the text of one array (PostgreSQL, 8.15); asyncpg would look at each of them."""
    try:
        joined = b'","'.join(values)  # type: ignore[arg-type] # NULL is the exception
    except TypeError:
        return _quoted_array(values)
    if b"\\" in joined or joined.count(b'"') != 2 * (len(values) - 1):
        return _quoted_array(values)
    return f'{{"{joined.decode()}"}}'


def _quoted_array(values: list[Value]) -> str:
    return f"{{{','.join(map(_quoted, values))}}}"


def _quoted(value: Value) -> str:
    if not isinstance(value, bytes):
        return "NULL"
    text = value.decode().replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def bytes_array(values: list[Value]) -> list[bytes | None]:
    """Return texts in any encoding as an array of bytes."""
    return [value if isinstance(value, bytes) else None for value in values]
