"""The suite's own module holds assertions that pytest is to explain, like those of test modules."""

import pytest

pytest.register_assert_rewrite("tests.contracts.lease.suite")
