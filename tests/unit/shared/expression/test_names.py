"""What an expression names: unknown names are found, with their places, and known ones never refused."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import jsonata
import pytest
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from shared.errors import Malformed
from shared.expression.jsonata import EvaluationTimeout, Jsonata
from shared.expression.names import FUNCTIONS, unknown
from tests.unit.shared.expression.test_jsonata import CASES

IN = "of the expression"


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("$upercase(region)", [f"unknown function $upercase at column 1 {IN}; did you mean $uppercase?"]),
        ("region ~> $upercase", [f"unknown function $upercase at column 11 {IN}; did you mean $uppercase?"]),
        ("region ~> $upercase()", [f"unknown function $upercase at column 11 {IN}; did you mean $uppercase?"]),
        ("$trim ~> $upercase", [f"unknown function $upercase at column 10 {IN}; did you mean $uppercase?"]),
        ("$substrng(?, 0, 2)", [f"unknown function $substrng at column 1 {IN}; did you mean $substring?"]),
        ("$UpperCase(a)", [f"unknown function $UpperCase at column 1 {IN}; did you mean $uppercase?"]),
        ("$map(tags, $upercase)", [f"unknown variable $upercase at column 12 {IN}; did you mean $uppercase?"]),
        ("uppercase(region)", [f"unknown function uppercase at column 1 {IN}; did you mean $uppercase?"]),
        ("customer.uppercase(name)", [f"unknown function uppercase at column 10 {IN}; did you mean $uppercase?"]),
        ("`uppercase`(region)", [f"unknown function uppercase at column 2 {IN}; did you mean $uppercase?"]),
        ("$quux(a)", [f"unknown function $quux at column 1 {IN}: neither JSONata nor the expression defines it"]),
        ("$clone({})", [f"unknown function $clone at column 1 {IN}: neither JSONata nor the expression defines it"]),
        ("$evnt.type", [f"unknown variable $evnt at column 1 {IN}; did you mean $event?"]),
        ("amount > $limit", [f"unknown variable $limit at column 10 {IN}; bound there: $event"]),
        ("$$status", [f"unknown variable $$status at column 1 {IN}; bound there: $event"]),
        ("($total := 1; $totl)", [f"unknown variable $totl at column 15 {IN}; did you mean $total?"]),
        ("(($x := 1); $x)", [f"unknown variable $x at column 13 {IN}; bound there: $event"]),
        ("($f := function($x){$x}; $x)", [f"unknown variable $x at column 26 {IN}; bound there: $event, $f"]),
        ("(lines@$l.sku; $l)", [f"unknown variable $l at column 16 {IN}; bound there: $event"]),
        ("[lines#$i.sku, $i]", [f"unknown variable $i at column 16 {IN}; bound there: $event"]),
        ("($f := $nope; $f(1))", [f"unknown variable $nope at column 8 {IN}; bound there: $event, $f"]),
        ("|$|{'a': $nope}, [$gone]|", ["$nope at column 10", "$gone at column 19"]),
        ("lines^(>$nope).sku", ["$nope at column 9"]),
        ("lines[price > $nope]", ["$nope at column 15"]),
        ("lines{$nope: $gone}", ["$nope at column 7", "$gone at column 14"]),
        ("a ? $nope : $gone", ["$nope at column 5", "$gone at column 13"]),
        ("a ?: $nope", ["$nope at column 6"]),
        ("$nope ?? 1", ["$nope at column 1"]),
        ("-$nope", ["$nope at column 2"]),
        ("[$nope..3]", ["$nope at column 2"]),
        ("(\n  $a := 1;\n  $b\n)", [f"unknown variable $b at line 3, column 3 {IN}"]),
        ("/* $x */ '$y' & $z", ["$z at column 17"]),
    ],
)
def test_what_does_not_exist_is_named_with_its_place(expression: str, said: list[str]) -> None:
    Jsonata(expression)
    found = unknown(expression)
    assert len(found) == len(said)
    for sentence, expected in zip(found, said, strict=True):
        assert expected in sentence


@pytest.mark.parametrize(
    "expression",
    [
        "$",
        "$$",
        "$$.a",
        "$.a",
        "$event.type",
        "$map(tags, $uppercase)",
        "tags ~> $map($uppercase) ~> $join('$nope')",
        "($half := $substring(?, 0, 2); $half(a))",
        "($up := $uppercase; $up(a))",
        "($up := $trim ~> $uppercase; $up(a))",
        "function($x){$x}(1)",
        "λ($x, $y)<n-n:n>{$x + $y}(1, 2)",
        "($even := function($n){$n = 0 or $odd($n - 1)}; $odd := function($n){$n != 0 and $even($n - 1)}; $even(4))",
        "($fact := function($n){$n < 2 ? 1 : $n * $fact($n - 1)}; $fact(5))",
        "($x := $y := 1; $x + $y)",
        "$string($x := 1) & $x",
        "(a; ($b := 1; ($c := $b; $b + $c)))",
        "($add := function($a){function($b){$a + $b}}; $add(1)(2))",
        "lines@$l.tags@$t.{'l': $l.sku, 't': $t}",
        "lines@$l[$l.price > 1].sku",
        "lines@$l^($l.price).$l.sku",
        "lines#$i[$i > 0].{'at': $i}",
        "lines@$l#$i{$l.sku: $i}",
        "lines@$l.(tags@$t.($l & $t))",
        "(lines@$l.sku).%.($l)",
        "$contains(a, /$nope(x)/)",
        "a ~> /^$nope/i",
        "'$nope' & \"$nope(1)\" & `$nope`",
        "/* $nope(1) */ a",
        "{'$nope': 1, \"$gone\": 2}",
        "$match(a, /b/).next()",
        "{'shout': $uppercase}.shout('a')",
        "{'sh' & 'out': $uppercase}.shout('a')",
        "$eval('$x := 5') + $x",
        "and and or or in",
        "$millis() > 0 and $random() < 2 and $now() != ''",
        "$replace(a, /(x)/, '$1')",
        "$sift(a, function($v, $k){$k ~> /^b/})",
        "$reduce(lines.price, function($sum, $price){$sum + $price}, 0)",
        "$sort(lines, function($l, $r){$l.price > $r.price})",
        "a ~> |$|{'b': $string(c)}, ['d']|",
    ],
)
def test_what_exists_is_not_mentioned(expression: str) -> None:
    Jsonata(expression)
    assert unknown(expression) == []


@pytest.mark.parametrize("expression", [expression for expression, _ in CASES])
def test_the_cases_of_the_language_name_nothing_unknown(expression: str) -> None:
    assert unknown(expression) == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_that_is_known_exists(name: str) -> None:
    assert Jsonata(f"$exists(${name})").evaluate(b"{}", None) == b"true"


def test_every_function_that_exists_is_known() -> None:
    jsonata.Jsonata("1")  # registers the functions
    theirs = set(jsonata.Jsonata.static_frame.bindings)
    assert {name for name in theirs if Jsonata(f"$exists(${name})").evaluate(b"{}", None) == b"true"} == FUNCTIONS


@pytest.mark.parametrize("expression", ["(" * 200 + "a" + ")" * 200, "$match(a, /b/g)"])
def test_what_the_parser_does_not_read_gets_no_verdict(expression: str) -> None:
    Jsonata(expression)
    assert unknown(expression) == []


def test_defaults_within_defaults_take_no_time() -> None:
    expression = "a"
    for _ in range(24):
        expression = f"({expression} ?? $b)"
    assert len(unknown(expression)) == 24


@given(st.text(alphabet="$abx({[<|/*'\"`\\~>:=;,.?@#^%&1 \n\N{SNOWMAN}") | st.text())
@example("(" * 5000)
@example("/")
@example("/*")
@example('"\\')
def test_any_text_gets_an_answer(expression: str) -> None:
    assert all(isinstance(sentence, str) for sentence in unknown(expression))


# What follows makes expressions of every scope there is, over few names, so that some uses are bound and some are not.

DATA: Any = {"a": [{"b": 1, "c": [1, 2]}, {"b": 2, "c": [3]}], "b": 5, "c": {"a": "x", "b": [True]}}
NAMES = ("$p", "$q", "$r")
"""None that the reference uses in what it makes itself: it writes partial applications and chains as expressions."""
NOWHERE = "$never"

_names = st.sampled_from(NAMES)
_leaves = st.sampled_from(["a", "b", "c", "$", "$$", "1", "'$p'", "`$q`", "/* $r */ b", "$event", "[1..3]"]) | _names


def _written(form: str, inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Fill a form: `E` stands for an expression, `N` for a name."""
    parts = [inner if part == "E" else _names if part == "N" else st.just(part) for part in form.split(" ")]
    return st.tuples(*parts).map("".join)


FORMS = (
    "( E )",
    "( N := E ; E )",
    "( N := E ; E ; N )",
    "[ E , E ]",
    "{'k': E }",
    "{'k': E , 'l': E }",
    "$string( E )",
    "$exists( N )",
    "$map( E , function( N ){ E })",
    "$map( E , function( N ){ ( N := E ; E )})",
    "function( N ){ E }( E )",
    "( N :=function( N ){ E }; N ( E ))",
    "( N :=$append(?, E ); N ( E ))",
    "N ( E )",
    "( E ) ~> N",
    "( E ) ~> $string",
    "( E ) & ( E )",
    "( E ) ? ( E ) : ( E )",
    "( E ) ?? ( E )",
    "( E ) ?: ( E )",
    "( E ).( E )",
    "a.( E )",
    "a@ N .( E )",
    "a@ N .c@ N .( E )",
    "a# N .( E )",
    "a@ N # N [ E ].( E )",
    "a[ E ]",
    "a^( E ).b",
    "a@ N ^( E ).( E )",
    "a@ N {'k': E }",
    "c ~> |$|{'n': E }|",
    "a.c.(%.( E ))",
    "(a@ N .c).%.( E )",
    "(a@ N .c).( E )",
)
expressions = st.deferred(
    lambda: st.recursive(_leaves, lambda inner: st.one_of([_written(form, inner) for form in FORMS]), max_leaves=8)
)


@given(expressions)
def test_every_expression_that_compiles_is_read(expression: str) -> None:
    """A verdict that was not given would look like one that finds nothing: so one more name must be found."""
    assume(_compiles(expression))
    assert any(NOWHERE in sentence for sentence in unknown(f"[{expression}, {NOWHERE}]"))


@given(expressions)
def test_what_is_called_unknown_is_bound_nowhere(expression: str) -> None:
    """Another name in its place, which is certainly bound nowhere, changes nothing that the library answers."""
    assume(_compiles(expression))
    for start, end in _places(expression):
        renamed = f"{expression[:start]}{NOWHERE}{expression[end:]}"
        assert _answer(renamed) == _answer(expression)


@given(expressions)
def test_the_reference_finds_nothing_under_what_is_called_unknown(expression: str) -> None:
    assume(_compiles(expression))
    found = _found(expression)
    assert not [expression[start:end] for start, end in _places(expression) if (expression[start:end], end) in found]


def _compiles(expression: str) -> bool:
    try:
        Jsonata(expression)
    except ValueError:
        return False
    return True


def _answer(expression: str) -> bytes | str | None:
    try:
        return Jsonata(expression, time_limit_ms=500).evaluate(json.dumps(DATA).encode(), {"type": "t"})
    except EvaluationTimeout:
        reject()  # an endless recursion has no answer
    except Malformed as exc:
        return str(exc)[: len("the expression failed: D1000")]


def _places(expression: str) -> Iterator[tuple[int, int]]:
    """Where the unknown names stand, read back from the sentences."""
    for sentence in unknown(expression):
        name, _, rest = sentence.partition(" at column ")
        start = int(rest.partition(" ")[0]) - 1
        shown = name.rpartition(" ")[2]
        assert expression[start : start + len(shown)] == shown
        yield start, start + len(shown)


def _found(expression: str) -> set[tuple[str, int]]:
    """Evaluate by the reference in Python; return the variables that were bound when used, and where they end."""
    found: set[tuple[str, int]] = set()

    class Watched(jsonata.Jsonata):  # type: ignore[misc]  # published without types
        def evaluate_variable(self, expr: Any, input: Any, environment: Any) -> Any:  # noqa: A002 -- theirs
            frame = environment
            while frame is not None and expr.value not in frame.bindings:
                frame = frame.parent
            if frame is not None:
                found.add((f"${expr.value}", expr.position))
            return super().evaluate_variable(expr, input, environment)

    # What it makes of nonsense is its own affair; what it looked up until then counts.
    with contextlib.suppress(Exception):
        Watched(expression).evaluate(json.loads(json.dumps(DATA)), {"event": {"type": "t"}})
    return found
