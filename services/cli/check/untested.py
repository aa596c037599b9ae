"""Warns of what no test of Trelay runs on a real server. No I/O."""

from collections.abc import Mapping

from services.system_api.sources.registry import AnySource
from services.system_api.sources.table.checking.databases import title
from services.system_api.sources.table.options import TableSourceOptions
from shared.settings import Finding


def warnings(sources: Mapping[str, AnySource]) -> list[Finding]:
    """Return a warning for each table in a database that the tests do not run."""
    return [
        Finding(
            ("system", "sources", name, "url"),
            f"no test of Trelay runs on a real {title(options.url)}; it is read by `key` or by `updated_at_column`"
            " alone: compare with `trelay sources reconcile` before you rely on it",
        )
        for name, options in sources.items()
        if isinstance(options, TableSourceOptions) and options.generic
    ]
