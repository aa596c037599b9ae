"""The contract suite of sources, for pytest: docs/sources/your-own.md tells how to run it on a source of your own."""

import pytest

# Before the modules are imported: so pytest explains their assertions.
pytest.register_assert_rewrite("services.system_api.contract.replica", "services.system_api.contract.suite")

from services.system_api.contract.suite import SourceContract  # noqa: E402 -- see above
from services.system_api.contract.upstream import COMMON, Upstream, line, record, unchanged  # noqa: E402

__all__ = ["COMMON", "SourceContract", "Upstream", "line", "record", "unchanged"]
