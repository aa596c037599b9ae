"""The suite's own modules hold assertions that pytest is to explain, like those of test modules."""

import pytest

pytest.register_assert_rewrite(
    *(
        f"tests.contracts.registry.{module}"
        for module in ("clients", "consumers", "claims", "notices", "several", "several_tokens", "deployment")
    )
)
