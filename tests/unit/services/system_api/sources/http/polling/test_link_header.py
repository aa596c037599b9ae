"""The header `Link`, as RFC 8288 defines it and as servers send it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.system_api.sources.http.polling.link_header import next_target, parse
from shared.errors import Malformed


@pytest.mark.parametrize(
    ("values", "target"),
    [
        (['<https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last"'], "https://a/?page=2"),  # GitHub
        (["<https://a/?page=9>; rel=last", "<b?page=2>;rel=next"], "b?page=2"),  # two headers
        (['<a>; rel="prev"; title="a, b; rel=\'next\'", <b>; rel=next'], "b"),
        (['<a>; REL="first  NEXT"'], "a"),
        (["<a,b;c>; rel=next"], "a,b;c"),
        (["< a > ; rel = next ; x"], "a"),
        ([', ,<a>;;rel="next";,'], "a"),
        (['<a>; rel=""; rel="next"'], None),  # the first one counts
        (['<a>; title="\\"next\\""; rel=prev'], None),
        (['<a>; rel="next"; anchor="#b"'], None),  # a link of another resource
        (["<a>"], None),
        (["<a>; rel"], None),
        (["<a>; rel="], None),
        (["", "  "], None),
        ([], None),
    ],
)
def test_the_next_link(values: list[str], target: str | None) -> None:
    assert next_target(values) == target


def test_parameters_are_by_name() -> None:
    (link,) = parse("<a>; rel=\"next\"; title*=UTF-8'en'x; hreflang=en")
    assert link.parameters == {"rel": "next", "title*": "UTF-8'en'x", "hreflang": "en"}


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("https://a; rel=next", "at character 1, 'https://a; rel=next': expected '<'"),
        ("<a; rel=next", "'<' is not closed"),
        ('<a>; rel="next', "'\"' is not closed"),
        ("<a> rel=next", "expected ';' or ','"),
        ("<a>; =next", "expected the name of a parameter"),
        ("<a>; rel=next b", "expected ';' or ','"),
    ],
)
def test_malformed_values(value: str, error: str) -> None:
    with pytest.raises(Malformed, match="the header Link is malformed") as caught:
        parse(value)
    assert error in str(caught.value)


@given(st.text(alphabet='<>;,="\\ \tabrelnxt', max_size=40) | st.text(max_size=40))
def test_any_value_is_parsed_or_malformed(value: str) -> None:
    try:
        links = parse(value)
    except Malformed:
        return
    assert all(">" not in link.target for link in links)


_token = st.text(alphabet="abcdefghijklmnop0123456789-", min_size=1, max_size=8)
_target = st.text(alphabet="abc/?=&,;:%", max_size=12)
_value = st.text(alphabet='ab,;<>="\\ ', max_size=10)


@given(st.lists(st.tuples(_target, st.dictionaries(_token, _value, max_size=3)), max_size=4))
def test_what_is_written_is_read(links: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    written = ", ".join(
        f"<{target}>" + "".join(f"; {name}={quoted(value)}" for name, value in parameters.items())
        for target, parameters in links
    )
    assert [(link.target, link.parameters) for link in parse(written)] == links
