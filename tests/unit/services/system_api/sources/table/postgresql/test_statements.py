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
