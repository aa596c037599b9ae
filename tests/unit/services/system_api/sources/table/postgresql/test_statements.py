"""The statements quote every name, and their conditions select only the rows that are needed."""

from services.system_api.sources.table.ledger import Position
from services.system_api.sources.table.postgresql import statements
from services.system_api.sources.table.postgresql.shape import Key, Sequence, Shape

KEYED = Shape(
    table='Shop.Order "s',
    relation='"Shop"."Order ""s"',
    keys=(Key("Id", "integer"),),
    times=(),
    order_type="bigint",
    time_zone="UTC",
    subject="Id",
    columns=None,
    sequence=Sequence(7, "public.s", readable=True),
    nullable=(),
    versioned=True,
)


def test_rows_above_the_position_are_selected() -> None:
    statement, arguments = statements.rows(
        KEYED, statements.ReadLimits(10, 1000, 100), Position(5, "5"), below=9, emitted=[" 6"]
    )
    assert 't."Id" > $1::bigint AND t."Id" < $2::bigint' in statement
    assert arguments == [5, 9, [" 6"], 10, 1000]
    assert 'ORDER BY t."Id"\n' in statement
    statement, arguments = statements.rows(
        KEYED, statements.ReadLimits(10, 1000, 100), Position(5, None), below=None, emitted=[]
    )
    assert 't."Id" >= $1::bigint' in statement
    assert arguments == [5, 10, 1000]


def test_rows_that_follow_a_key() -> None:
    limits = statements.ReadLimits(10, 1000, 100)
    statement, arguments = statements.following(KEYED, limits, None, with_data=True)
    assert "WHERE true" in statement
    assert "t.xmin::text AS version" in statement
    assert arguments == [10, 1000]
    statement, arguments = statements.following(KEYED, limits, "5", with_data=False)
    assert '(t."Id") > ($1::text::integer)' in statement
    assert "'{}'::bytea AS data" in statement
    assert arguments == ["5", 10, 1000]
    statement, _ = statements.following(KEYED, limits, "5", with_data=True, condition="(a > 1) OR (b > 1)")
    assert 'WHERE ((a > 1) OR (b > 1)) AND (t."Id") >' in statement
