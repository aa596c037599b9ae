"""Finds functions and variables in an expression that do not exist, before the first event is evaluated.

To JSONata, a call of an unknown function is an error of each event, and an unknown variable is undefined. The scopes
are those of the reference implementation (jsonata.js 2.x, `evaluate`): a block and a lambda have a frame of their own,
`:=` binds in the innermost frame, and `@$x` and `#$i` bind within their path. The order within a frame is ignored,
because a lambda may use a name that is bound after it.

jsonatapy exposes no syntax tree, so the parser is that of jsonata-python, a port of the reference. It reads everything
that jsonatapy compiles, except spellings outside the language, such as the flag in `/a/g`. Such an expression is not
checked. Neither is one that calls `$eval`, which can bind any name.
"""

import difflib
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from jsonata import Parser

FUNCTIONS: Final = frozenset({
    "abs", "append", "assert", "average", "base64decode", "base64encode", "boolean", "ceil", "contains", "count",
    "decodeUrl", "decodeUrlComponent", "distinct", "each", "encodeUrl", "encodeUrlComponent", "error", "eval",
    "exists", "filter", "floor", "formatBase", "formatInteger", "formatNumber", "fromMillis", "join", "keys",
    "length", "lookup", "lowercase", "map", "match", "max", "merge", "millis", "min", "not", "now", "number", "pad",
    "parseInteger", "power", "random", "reduce", "replace", "reverse", "round", "shuffle", "sift", "single", "sort",
    "split", "spread", "sqrt", "string", "substring", "substringAfter", "substringBefore", "sum", "toMillis", "trim",
    "type", "uppercase", "zip",
})  # fmt: skip
"""The functions of jsonatapy 2.2.13, without their `$`."""

VARIABLES: Final = frozenset({"event"})
"""What Trelay binds for an event, without the `$`."""

_ROOTS = frozenset({"", "$"})
"""`$` and `$$`."""
_CALLED_MEMBERS = frozenset({"next"})
"""Members that hold a function which the expression does not define: `next` of a match."""
_PATH = frozenset({".", "[", "{", "^", "@", "#"})
"""The operators whose operands form one path."""

_ALIKE = 0.7
"""Minimum similarity of a suggestion, by difflib: `$uppercase` for `$upper`, but not `$split` for `$limit`."""


def unknown(expression: str, variables: frozenset[str] = VARIABLES) -> list[str]:
    """Return a sentence for each name that does not exist, in the order of the text; none if it cannot be checked.

    `variables` are those that Trelay binds, without the `$`.
    """
    return list(_unknown(expression, variables))


@functools.lru_cache(maxsize=1024)  # the parser takes a millisecond to set up, and settings are often read again
def _unknown(expression: str, variables: frozenset[str]) -> tuple[str, ...]:
    try:
        walk = _Walk(variables)
        walk.visit(_Syntax().parse(expression, _no_regex), _Scope(None, is_frame=True))
    except Exception:  # noqa: BLE001 -- hostile text may fail the parser in any way; jsonatapy reports the error
        return ()
    return () if walk.evaluates_text else tuple(use.sentence(expression, variables) for use in walk.unknown())


def _no_regex(_pattern: str, _flags: object) -> None:
    """Replace the compiled regular expression: jsonatapy has compiled it, and Python's dialect may refuse it."""


class _Syntax(Parser):  # type: ignore[misc]  # published without types
    """The parser without its second pass, which prepares the evaluation in exponential time for nested `??`."""

    def process_ast(self, expr: Any) -> Any:
        """Return the tree unprocessed."""
        return expr


class _Scope:
    """A part of the expression that binds names: a frame of the evaluation, or a path."""

    def __init__(self, outer: "_Scope | None", *, is_frame: bool, names: Iterable[str] = ()) -> None:
        self.outer = outer
        self.frame: _Scope = self if is_frame or outer is None else outer.frame
        self.names = set(names)

    def visible(self) -> Iterator[str]:
        scope: _Scope | None = self
        while scope is not None:
            yield from scope.names
            scope = scope.outer


class _Use(NamedTuple):
    """One use of a name."""

    name: str
    end: int
    """Where its token ends in the text."""
    called: bool
    scope: _Scope
    sigil: str = "$"

    def sentence(self, text: str, variables: frozenset[str]) -> str:
        shown = f"{self.sigil}{self.name}"
        start = text.rfind(shown, 0, self.end)  # a name in backticks ends before its token does
        line, column = text.count("\n", 0, start) + 1, start - text.rfind("\n", 0, start)
        place = f"column {column}" if "\n" not in text else f"line {line}, column {column}"
        kind = "function" if self.called else "variable"
        return f"unknown {kind} {shown[:60]} at {place} of the expression{self._hint(variables)}"

    def _hint(self, variables: frozenset[str]) -> str:
        bound = {*self.scope.visible(), *variables}
        folded = {name.casefold(): name for name in sorted(FUNCTIONS | bound)}
        close = difflib.get_close_matches(self.name.casefold(), folded, n=1, cutoff=_ALIKE)
        if close:
            return f"; did you mean ${folded[close[0]]}?"
        if self.called:
            return ": neither JSONata nor the expression defines it"
        listed = ", ".join(f"${name}" for name in sorted(bound))
        return f"; bound there: {listed}" if listed else ": none is bound there"


class _Walk:
    """Collects the names that a syntax tree binds and uses. `Parser` documents the fields of a node."""

    def __init__(self, variables: frozenset[str]) -> None:
        self.evaluates_text = False
        self._everywhere = {*FUNCTIONS, *variables}
        self._seen: set[int] = set()
        self._uses: list[_Use] = []
        self._paths: list[_Scope] = []
        self._parents = False
        self._texts: set[str] = set()
        self._computed_keys = False

    def unknown(self) -> list[_Use]:
        """Return the uses of names that no enclosing scope binds."""
        if self._parents:  # the bindings of a path that contains `%` are visible around it
            self._everywhere.update(*(path.names for path in self._paths))
        return sorted((use for use in self._uses if not self._exists(use)), key=lambda use: use.end)

    def _exists(self, use: _Use) -> bool:
        if use.sigil:
            return use.name in self._everywhere or use.name in use.scope.visible()
        # A member can only be called if the expression itself builds an object with a function in it.
        return self._computed_keys or use.name in self._texts or use.name in _CALLED_MEMBERS

    def visit(self, node: Any, scope: _Scope, *, in_path: bool = False) -> None:
        """Visit a node; with `in_path` it belongs to the path of its parent."""
        if node is None or id(node) in self._seen:  # in `a ?? b`, `a` is part of the condition and of the consequence
            return
        self._seen.add(id(node))
        if node.type == "variable":
            self._use(node, scope)
        elif node.type == "string":
            self._texts.add(node.value)
        elif node.type == "binary" and node.value in _PATH:
            self._path(node, scope if in_path else self._new_path(scope))
        elif node.type in self._VISITS:
            self._VISITS[node.type](self, node, scope)
        self._parents |= node.type == "parent"

    def _use(self, node: Any, scope: _Scope, *, called: bool = False) -> None:
        if node.value not in _ROOTS:
            self._uses.append(_Use(node.value, node.position, called, scope))
            self.evaluates_text |= node.value == "eval"

    def _all(self, nodes: Iterable[Any], scope: _Scope) -> None:
        for node in nodes:
            self.visit(node, scope)

    def _new_path(self, scope: _Scope) -> _Scope:
        path = _Scope(scope, is_frame=False)
        self._paths.append(path)
        return path

    def _path(self, node: Any, scope: _Scope) -> None:
        self.visit(node.lhs, scope, in_path=True)
        if node.value in {"@", "#"}:
            scope.names.add(node.rhs.value)
        elif node.value == "{":
            self._members(node.rhs_object, scope)
        elif node.value == "^":
            self._all((term.expression for term in node.rhs_terms), scope)
        else:
            self.visit(node.rhs, scope, in_path=node.value == ".")

    def _members(self, pairs: Iterable[tuple[Any, Any]], scope: _Scope) -> None:
        for key, value in pairs:
            self._computed_keys |= key.type != "string"
            self._all((key, value), scope)

    def _binary(self, node: Any, scope: _Scope) -> None:
        if node.value == ":=":
            scope.frame.names.add(node.lhs.value)
        else:
            self.visit(node.lhs, scope)
        if node.value == "~>":
            self._procedure(node.rhs, scope)
        else:
            self.visit(node.rhs, scope)

    def _unary(self, node: Any, scope: _Scope) -> None:
        self._all(node.expressions or (), scope)
        self._members(node.lhs_object or (), scope)
        self.visit(node.expression, scope)

    def _call(self, node: Any, scope: _Scope) -> None:
        self._procedure(node.procedure, scope)
        self._all(node.arguments, scope)

    def _procedure(self, node: Any, scope: _Scope) -> None:
        if node.type == "variable":
            self._use(node, scope, called=True)
        elif node.type == "name":
            self._uses.append(_Use(node.value, node.position, called=True, scope=scope, sigil=""))
        else:
            self.visit(node, scope)

    def _lambda(self, node: Any, scope: _Scope) -> None:
        self.visit(node.body, _Scope(scope, is_frame=True, names=(argument.value for argument in node.arguments)))

    def _block(self, node: Any, scope: _Scope) -> None:
        self._all(node.expressions, _Scope(scope, is_frame=True))

    def _condition(self, node: Any, scope: _Scope) -> None:
        self._all((node.condition, node.then, node._else), scope)  # noqa: SLF001 -- the parser's name for it

    def _transform(self, node: Any, scope: _Scope) -> None:
        self._all((node.pattern, node.update, node.delete), scope)

    _VISITS: Final[dict[str, Callable[["_Walk", Any, _Scope], None]]] = {
        "binary": _binary,
        "unary": _unary,
        "function": _call,
        "partial": _call,
        "lambda": _lambda,
        "block": _block,
        "condition": _condition,
        "transform": _transform,
    }
