"""Which settings a mode of a table source has, and what a query needs."""

from collections.abc import Mapping

_OF_MODES = {
    "incremental": {"updated_at_column", "time_unit", "time_zone", "overlap", "early_limit"},
    "diff": {"diff_limit", "deleted_type"},
    "outbox": {"published_column"},
    "replication": {"deleted_type", "slot", "publication", "create_slot", "initial_snapshot", "slot_lag_limit"},
}
"""The settings that a mode has, and others have not."""
_OF_QUERIES = ("incremental", "diff")


def check_mode(mode: str, given: set[str]) -> None:
    """Check that no setting is only one of other modes.

    Raises:
        ValueError: names the setting and the mode that has it.
    """
    known = _OF_MODES[mode]
    for name in sorted(given - known):
        others = [other for other, names in _OF_MODES.items() if name in names]
        if others:
            raise ValueError(f"{name}: this is a setting of `mode: {others[0]}`; remove it, or set that mode")


def check_relation(mode: str, settings: Mapping[str, object]) -> None:
    """Check that there is a table or a query, and that no row of a query can be skipped.

    `settings` are `table`, `query` and `overlap`.

    Raises:
        ValueError: names the setting.
    """
    if bool(settings["table"]) == bool(settings["query"]):
        raise ValueError("expected exactly one of `table` and `query`")
    if not settings["query"]:
        return
    if mode not in _OF_QUERIES:
        raise ValueError(f"query: `mode: {mode}` reads a table; set `table`, or one of the modes incremental and diff")
    if mode == "incremental" and not settings["overlap"]:
        raise ValueError(
            "overlap: required with `query`: a row of it appears when the last row that it is made from is committed,"
            " and may then be below rows that were read; set the seconds that this takes at most after the commit of"
            " its time or key (1 where foreign keys keep the order), or `mode: diff`, which needs no order"
        )
