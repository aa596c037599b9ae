import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experience_api.wire.extensions import Agreed, negotiate

ANSWER = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

ACCEPTED = {
    "Firefox, OkHttp and Jetty": "permessage-deflate",
    "Chrome, Edge, websockets, aiohttp and ws": "permessage-deflate; client_max_window_bits",
    "gorilla": "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    "an older Safari, in two ways": "x-webkit-deflate-frame, permessage-deflate",
    "a window of the client": "permessage-deflate;client_max_window_bits=8",
    "a quoted value": 'permessage-deflate; client_max_window_bits="10"',
    "spaces": "\t permessage-deflate ;\tclient_max_window_bits = 15 ",
    "empty elements": ", ,permessage-deflate,",
    "an unknown parameter, then an acceptable offer": "permessage-deflate; fast, permessage-deflate",
    "a repeated parameter, then an acceptable offer": (
        "permessage-deflate; client_max_window_bits; client_max_window_bits, permessage-deflate"
    ),
    "a window that zlib cannot use, then an acceptable offer": (
        "permessage-deflate; server_max_window_bits=8, permessage-deflate"
    ),
    "another extension with parameters": 'foo; a=b; c="d"; e, permessage-deflate',
}


@pytest.mark.parametrize("offer", ACCEPTED.values(), ids=ACCEPTED)
def test_the_first_acceptable_offer_is_accepted(offer: str) -> None:
    assert negotiate([offer]) == Agreed(15, ANSWER)


@pytest.mark.parametrize("bits", range(9, 16))
def test_the_window_that_a_client_asks_for_is_confirmed(bits: int) -> None:
    agreed = negotiate([f"permessage-deflate; server_max_window_bits={bits}, permessage-deflate"])
    assert agreed == Agreed(bits, f"{ANSWER}; server_max_window_bits={bits}")


def test_offers_of_several_headers_are_one_list() -> None:
    assert negotiate(["foo", "permessage-deflate; server_max_window_bits=10"]) is not None


DECLINED = {
    "no header": "",
    "only commas": ",, ,",
    "another extension": "x-webkit-deflate-frame",
    "another spelling": "PerMessage-Deflate",
    "a longer name": "permessage-deflated",
    "a prefix": "permessage-deflate2; server_max_window_bits=10",
    "an unknown parameter": "permessage-deflate; server_max_window",
    "a flag with a value": "permessage-deflate; server_no_context_takeover=1",
    "a flag twice": "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
    "a parameter twice with the same value": "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9",
    "no value": "permessage-deflate; server_max_window_bits",
    "an empty value": "permessage-deflate; server_max_window_bits=",
    "a window too small for zlib": "permessage-deflate; server_max_window_bits=8",
    "a window too small": "permessage-deflate; server_max_window_bits=7",
    "a window too large": "permessage-deflate; server_max_window_bits=16",
    "a huge window": "permessage-deflate; server_max_window_bits=" + "9" * 5000,
    "a negative window": "permessage-deflate; server_max_window_bits=-9",
    "a leading zero": "permessage-deflate; client_max_window_bits=010",
    "digits of another script": "permessage-deflate; client_max_window_bits=\u0661\u0660",
    "a fraction": "permessage-deflate; client_max_window_bits=10.0",
    "an unfinished quote": 'permessage-deflate; client_max_window_bits="10',
    "no name": "; client_max_window_bits",
    "an empty parameter": "permessage-deflate;",
    "two names": "permessage-deflate permessage-deflate",
    "a malformed offer behind it": "permessage-deflate, foo;;",
    "control characters": "permessage-deflate\x00",
    "many parameters": "permessage-deflate" + "; a" * 2000,
}


@pytest.mark.parametrize("offer", DECLINED.values(), ids=DECLINED)
def test_what_cannot_be_accepted_is_declined(offer: str) -> None:
    assert negotiate([offer]) is None


_pieces = st.sampled_from(
    ["permessage-deflate", "server_max_window_bits", "client_no_context_takeover", ";", ",", "=", '"', "10", " ", "\\"]
)


@given(st.lists(st.one_of(st.text(max_size=5), _pieces), max_size=20).map("".join))
def test_any_header_is_accepted_or_declined(header: str) -> None:
    agreed = negotiate([header])
    assert agreed is None or 9 <= agreed.window <= 15


def test_a_header_that_no_client_sends_offers_nothing() -> None:
    assert negotiate(["permessage-deflate", "a," * 2000]) is not None
    assert negotiate(["permessage-deflate", "a," * 2100]) is None
