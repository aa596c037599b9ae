"""The values of Arrow columns, as JSON has them: times are text with all their digits."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from services.system_api.sources.file.documents.records import UnreadableValue

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_FAR = 900_000_000_000
"""Seconds from 1970 up to which Arrow writes a time; its years have 16 bits."""
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 -- of columns without a time zone as well
_CYCLE = 146_097 * 86_400
"""Seconds of 400 years, after which the calendar repeats."""


def values_of(column: pa.Array) -> list[Any]:
    """Return the values of a column, one that JSON cannot have as an `UnreadableValue`.

    Maps are objects, unless a name occurs twice.
    """
    column = _column(column)
    try:
        items: list[Any] = column.to_pylist(maps_as_pydicts="strict")
    except (KeyError, ValueError, OverflowError):
        items = [_item(scalar) for scalar in column]
    return items


def _item(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py(maps_as_pydicts="strict")
    except KeyError:
        return scalar.as_py()
    except UnicodeDecodeError:
        written = scalar.as_buffer().to_pybytes() if isinstance(scalar, pa.StringScalar) else None
        return UnreadableValue("found text that is not UTF-8", written)
    except (ValueError, OverflowError) as exc:
        return UnreadableValue(f"found a value of the type {scalar.type} that cannot be read: {exc}", str(scalar))


def _column(column: pa.Array) -> pa.Array:
    """Return a column whose times are text: Python has no nanoseconds, no years above 9999."""
    type_ = column.type
    if pa.types.is_timestamp(type_):
        written = _timestamps(column)
        # In a column with a time zone, values are UTC.
        return pc.binary_join_element_wise(written, "Z", "") if type_.tz else written
    if pa.types.is_date(type_):
        return column.cast(pa.date32()).cast(pa.string())
    if pa.types.is_time64(type_) or pa.types.is_duration(type_):
        return _times(column)
    if pa.types.is_nested(type_):
        return _nested(column)
    return column


def _timestamps(column: pa.Array) -> pa.Array:
    per_second = _PER_SECOND[column.type.unit]
    bounds = pc.min_max(column.cast(pa.int64())).as_py()
    if all(abs(bound or 0) // per_second <= _FAR for bound in bounds.values()):
        return pc.strftime(column.cast(pa.timestamp(column.type.unit)), format="%Y-%m-%dT%H:%M:%S")
    values = column.cast(pa.int64()).to_pylist()
    return pa.array([None if value is None else _timestamp(value, per_second) for value in values], pa.string())


def _timestamp(value: int, per_second: int) -> str:
    """Write the time so many parts of a second after the beginning of 1970, of any year."""
    seconds, fraction = divmod(value, per_second)
    cycles, within = divmod(seconds, _CYCLE)
    time = _EPOCH + timedelta(seconds=within)
    digits = len(str(per_second)) - 1
    return f"{time.year + 400 * cycles:04}{time:-%m-%dT%H:%M:%S}" + (f".{fraction:0{digits}}" if digits else "")


def _times(column: pa.Array) -> pa.Array:
    """Return times of a day, or durations, in microseconds; as text, if they have fractions of those."""
    is_time, unit = pa.types.is_time64(column.type), column.type.unit
    if unit != "ns":
        return column
    try:
        return column.cast(pa.time64("us") if is_time else pa.duration("us"))
    except pa.ArrowInvalid:
        write = _time if is_time else _duration
        return pa.array([None if value is None else write(value) for value in column.cast(pa.int64()).to_pylist()])


def _time(nanoseconds: int) -> str:
    seconds, fraction = divmod(nanoseconds, 10**9)
    whole = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{whole}.{fraction:09}" if fraction else whole


def _duration(nanoseconds: int) -> str:
    microseconds, rest = divmod(abs(nanoseconds), 1000)
    whole = str(msgspec.to_builtins(timedelta(microseconds=microseconds)))
    if rest:
        seconds, fraction = divmod(microseconds, 10**6)
        days, seconds = divmod(seconds, 86_400)
        whole = f"P{f'{days}D' if days else ''}T{seconds}.{fraction:06}{rest:03}S"
    return f"-{whole}" if nanoseconds < 0 else whole


def _nested(column: pa.Array) -> pa.Array:
    """Return a column of lists, maps or structs whose times are text."""
    type_, mask = column.type, column.is_null() if column.null_count else None
    if pa.types.is_struct(type_):
        fields = [_column(field) for field in column.flatten()]
        names = [type_.field(number).name for number in range(type_.num_fields)]
        return pa.StructArray.from_arrays(fields, names=names, mask=mask)
    if pa.types.is_map(type_):
        return pa.MapArray.from_arrays(column.offsets, _column(column.keys), _column(column.items), mask=mask)
    if pa.types.is_fixed_size_list(type_):
        return pa.FixedSizeListArray.from_arrays(_column(column.values), type_.list_size, mask=mask)
    # The offsets of a list view come with sizes, and in any order; those of a slice do not go with a mask.
    sizes = pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64())
    offsets = pa.concat_arrays([pa.array([0], pa.int64()), pc.cumulative_sum(sizes)])
    return pa.LargeListArray.from_arrays(offsets, _column(column.flatten()), mask=mask)
