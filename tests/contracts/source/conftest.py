"""Lets pytest explain the assertions in the modules of the suite."""

import pytest

pytest.register_assert_rewrite("tests.contracts.source.suite", "tests.contracts.source.replica")
