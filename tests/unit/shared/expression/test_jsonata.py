"""The library that evaluates, on the cases of the language that matter here."""

import json
import threading
from typing import Any

import jsonata
import pytest

from shared.errors import Malformed
from shared.events import strict_json
from shared.expression.jsonata import EvaluationTimeout, Jsonata

ORDER = {
    "id": 7,
    "status": "open",
    "amount": 129.5,
    "paid": False,
    "note": None,
    "customer": {"name": "Ada Lovelace", "tags": ["gold", "eu"], "address": {"city": "London"}},
    "lines": [
        {"sku": "A-1", "price": 10, "quantity": 2},
        {"sku": "B-2", "price": 2.5, "quantity": 4},
        {"sku": "C-3", "price": 100, "quantity": 1},
    ],
    "first name": "Ada",
    "empty": [],
    "when": "2026-01-31T23:59:59.000Z",
}

# Written for this suite; each line is a rule of the language that a pipeline is likely to lean on.
CASES: list[tuple[str, Any]] = [
    ("status", "open"),
    ("customer.address.city", "London"),
    ("customer.nothing.city", None),
    ("`first name`", "Ada"),
    ("lines.sku", ["A-1", "B-2", "C-3"]),
    ("lines[0].sku", "A-1"),
    ("lines[-1].sku", "C-3"),
    ("lines[price > 5].sku", ["A-1", "C-3"]),
    ("lines[sku = 'B-2'].price", 2.5),
    ("lines[price > 1000]", None),
    ("lines[[0..1]].sku", ["A-1", "B-2"]),
    ("lines^(price).sku", ["B-2", "A-1", "C-3"]),
    ("lines^(>price).sku", ["C-3", "A-1", "B-2"]),
    ("lines.(price * quantity)", [20, 10, 100]),
    ("$sum(lines.(price * quantity))", 130),
    ("$max(lines.price) - $min(lines.price)", 97.5),
    ("$average(lines.quantity)", 7 / 3),
    ("$count(lines)", 3),
    ("$count(empty)", 0),
    ("amount + 0.5", 130),
    ("amount * 2 - 1", 258),
    ("7 % 4", 3),
    ("1 / 4", 0.25),
    ("amount > 100 and status = 'open'", True),
    ("amount > 100 and paid", False),
    ("paid or amount > 100", True),
    ("$not(paid)", True),
    ("nothing = 1", False),
    ("nothing != 1", False),
    ("nothing > 1", None),
    ("note = null", True),
    ("status in ['open', 'held']", True),
    ("'gold' in customer.tags", True),
    ("amount > 100 ? 'large' : 'small'", "large"),
    ("nothing ? 'yes' : 'no'", "no"),
    ("'id-' & id", "id-7"),
    ("'a' & nothing & 'b'", "ab"),
    ("$uppercase(status)", "OPEN"),
    ("$substringBefore(customer.name, ' ')", "Ada"),
    ("$contains(customer.name, /love/i)", True),
    ("$replace(when, /-/, '/')", "2026/01/31T23:59:59.000Z"),
    ("$split('a,b', ',')", ["a", "b"]),
    ("$join(customer.tags, '+')", "gold+eu"),
    ("$trim('  x ')", "x"),
    ("$pad('7', -3, '0')", "007"),
    ("$length(customer.name)", 12),
    ("$string(amount)", "129.5"),
    ("$number('12.5')", 12.5),
    ("$round(2.345, 2)", 2.34),
    ("$floor(amount)", 129),
    ("$exists(note)", True),
    ("$exists(nothing)", False),
    ("$keys(customer.address)", "city"),
    ("$lookup(customer, 'name')", "Ada Lovelace"),
    ("$merge([{'a': 1}, {'b': 2}])", {"a": 1, "b": 2}),
    ("$map(lines, function($line) {$line.price * 2})", [20, 5, 200]),
    ("$filter(lines, function($line) {$line.quantity > 1}).sku", ["A-1", "B-2"]),
    ("$reduce(lines.price, function($sum, $price) {$sum + $price}, 0)", 112.5),
    ("$sort(lines.price)", [2.5, 10, 100]),
    ("$distinct([1, 2, 1])", [1, 2]),
    ("$append([1], [2])", [1, 2]),
    ("$reverse([1, 2])", [2, 1]),
    ("$type(lines)", "array"),
    ("$toMillis(when)", 1769903999000),
    ("$fromMillis(0)", "1970-01-01T00:00:00.000Z"),
    ("{'id': id, 'none': nothing}", {"id": 7}),
    ("{'skus': lines.sku}", {"skus": ["A-1", "B-2", "C-3"]}),
    ("lines{sku: price}", {"A-1": 10, "B-2": 2.5, "C-3": 100}),
    ("[id, status]", [7, "open"]),
    ("[1..3]", [1, 2, 3]),
    ("($total := $sum(lines.price); {'total': $total})", {"total": 112.5}),
    ("customer.address ~> |$|{'zip': 1}, 'city'|", {"zip": 1}),
    ("customer.tags[]", ["gold", "eu"]),
    ("customer.name[]", ["Ada Lovelace"]),
    ("lines.sku[0]", ["A-1", "B-2", "C-3"]),
    ("(lines.sku)[0]", "A-1"),
    ("**.city", "London"),
    ("customer.address.*", "London"),
    ("lines#$i[$i = 1].sku", "B-2"),
    ("lines.{'sku': sku}[0]", [{"sku": "A-1"}, {"sku": "B-2"}, {"sku": "C-3"}]),
    ("$$.status", "open"),
    ("/* nothing said */ id", 7),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), CASES)
def test_the_language(expression: str, expected: Any) -> None:
    found = Jsonata(expression).evaluate(json.dumps(ORDER).encode(), None)
    assert (None if found is None else json.loads(found)) == expected


@pytest.mark.parametrize("expression", [expression for expression, _ in CASES])
def test_the_reference_in_python_gives_the_same(expression: str) -> None:
    found = Jsonata(expression).evaluate(json.dumps(ORDER).encode(), None)
    theirs = jsonata.Jsonata(expression).evaluate(json.loads(json.dumps(ORDER)))
    assert (None if found is None else json.loads(found)) == theirs


@pytest.mark.parametrize(
    "expression", ["", "a +", "(", "a.", "{'a' 1}", "[1..", '"open', "$x(", "a ? b :", "@", "()" * 1000, "(" * 5000]
)
def test_an_expression_that_does_not_compile_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="does not compile"):
        Jsonata(expression)


@pytest.mark.parametrize("expression", ["id = 9007199254740993", "a + 0.12345678901234567", "-12345678901234567890"])
def test_a_literal_that_would_be_altered_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="JSONata's numbers are doubles"):
        Jsonata(expression)


@pytest.mark.parametrize(
    "expression",
    ["card = '9007199254740993'", "x9007199254740993", "a /* 9007199254740993 */", "id = 1795395166783123"],
)
def test_long_digits_elsewhere_are_not_numbers(expression: str) -> None:
    assert Jsonata(expression).evaluate(b'{"a":1}', None) in {None, b"1", b"false"}


def test_undefined_is_not_null() -> None:
    assert Jsonata("a").evaluate(b"{}", None) is None
    assert Jsonata("a").evaluate(b'{"a":null}', None) == b"null"


def test_an_absent_root_is_undefined() -> None:
    assert Jsonata("$exists($)").evaluate(None, None) == b"false"


def test_the_attributes_are_bound_to_event() -> None:
    assert Jsonata("$event.type & a").evaluate(b'{"a":"!"}', {"type": "order.created"}) == b'"order.created!"'


@pytest.mark.parametrize("expression", ["1 + 'x'", "$error('no')", "$number('x')", "[1..2000000]", "$toMillis('x')"])
def test_a_failed_evaluation_is_malformed(expression: str) -> None:
    with pytest.raises(Malformed, match="the expression failed"):
        Jsonata(expression).evaluate(b"{}", None)


@pytest.mark.parametrize("expression", ["($f := function(){$f()}; $f())", "($f := function($n){1 + $f($n)}; $f(1))"])
def test_an_endless_evaluation_times_out(expression: str) -> None:
    with pytest.raises(Malformed, match=r"D1012|U1001") as caught:
        Jsonata(expression, time_limit_ms=20).evaluate(b"{}", None)
    assert isinstance(caught.value, EvaluationTimeout) or "U1001" in str(caught.value)


def test_texts_pass_unaltered() -> None:
    text = '"\\u0000 \\u001f \\u007f \\u2028 \\ud83d\\ude00 é \\" \\\\ \\/ \\b"'
    found = Jsonata("$").evaluate(text.encode(), None)
    assert found is not None
    assert json.loads(found) == json.loads(text)


def test_another_thread_is_refused_and_does_not_crash(capfd: pytest.CaptureFixture[str]) -> None:
    compiled = Jsonata("a")
    caught: list[BaseException] = []

    def use() -> None:
        try:
            compiled.evaluate(b'{"a":1}', None)
        except BaseException as exc:  # noqa: BLE001 -- a panic is not an Exception, and must be translated
            caught.append(exc)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert [type(error) for error in caught] == [Malformed]
    capfd.readouterr()  # the message of the panic


@pytest.mark.parametrize(
    "expression",
    [
        "$power(10, 308)",
        "1.5e-310",
        '$number("1e308") / 10',
        '"\\ud83d\\ude00"',
        '$substring("\U0001f600", 0, 1)',
        '$split("\U0001f600", "")',
        '$match("\U0001f600a", /./)',
    ],
)
def test_every_value_obeys_the_rule_of_strict_json(expression: str) -> None:
    """Values of JSONata are not checked again, apart from their nesting."""
    found = Jsonata(expression).evaluate(b"{}", None)
    assert found is not None
    strict_json.check(found)


@pytest.mark.parametrize(
    "expression",
    ['"\\ud83d"', '"a\\udc00b"', '$pad("", 3, "\\ud83d")', '$join(["\\ud83d", "\\ude00"])'],
)
def test_a_literal_with_a_lone_surrogate_does_not_compile(expression: str) -> None:
    with pytest.raises(ValueError, match="does not compile"):
        Jsonata(expression)


@pytest.mark.parametrize(
    "expression",
    ['$number("1e999")', '$number("Infinity")', '$decodeUrl("%ED%A0%80")', '$base64decode("7aCA")', "$power(10, 400)"],
)
def test_a_function_that_would_break_the_rule_fails(expression: str) -> None:
    with pytest.raises(Malformed, match="the expression failed"):
        Jsonata(expression).evaluate(b"{}", None)


@pytest.mark.parametrize(
    "expression",
    [
        "1/0",
        "0 / 0",
        "$round(1e300, -400)",
        "a * 10",
        "-1e308 * 10",
        "$sum([1e308, 1e308])",
        '$number("1e308") * 10',
        '[{"x": [a * a]}]',
        "$sum([a, a])",
        "$map([a], function($x) { -$x * 10 })",
        "[null, a * 10]",
        "10 % 0",
    ],
)
def test_a_number_that_is_not_finite_is_an_error_and_not_null(expression: str) -> None:
    with pytest.raises(Malformed, match="D1001: it gives a number that is not finite"):
        Jsonata(expression).evaluate(b'{"a": 1e308}', {})


@pytest.mark.parametrize(
    ("expression", "value"),
    [("[null, a / 2]", [None, 5e307]), ("$event.n & 'null' & $string(1+1)", "null2"), ("b - 1 > 0 ? 1 : null", None)],
)
def test_null_itself_stays(expression: str, value: Any) -> None:
    found = Jsonata(expression).evaluate(b'{"a": 1e308}', {"b": 1})
    assert found is not None
    assert json.loads(found) == value


def test_every_result_with_a_null_is_checked() -> None:
    expression = Jsonata("[null, a * 10]")
    assert expression.evaluate(b'{"a": 1}', None) == b"[null,10]"
    assert expression.evaluate(b'{"a": 2}', None) == b"[null,20]"
    with pytest.raises(Malformed, match="not finite"):
        expression.evaluate(b'{"a": 1e308}', None)
