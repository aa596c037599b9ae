"""Lets pytest explain the assertions in the module of the suite."""

import pytest

pytest.register_assert_rewrite("tests.contracts.once.suite")
