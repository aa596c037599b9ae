"""Lets pytest explain the assertions in the modules of the suite."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"tests.contracts.bus.{module}"
        for module in ("appending", "crashes", "groups", "outages", "reading", "topics", "writing")
    )
)
