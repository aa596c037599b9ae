"""Reads the rows of one sheet of a workbook: Excel (.xlsx, .xlsm, .xlsb, .xls) or OpenDocument (.ods).

Numbers without a fraction are integers, times are text without an offset, empty cells are null; errors make their rows
errors. The library reads a whole sheet at once, so that the size of a workbook is limited.
"""

import itertools
import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from typing import Any, BinaryIO

from python_calamine import (
    CalamineError,
    CalamineSheet,
    CalamineWorkbook,
    PasswordError,
    SheetTypeEnum,
    SheetVisibleEnum,
    WorksheetNotFound,
    XmlError,
    ZipError,
)

from services.system_api.sources.file.documents.archive import is_archive, opened_archive
from services.system_api.sources.file.documents.excel_faults import Faults, faults_of
from services.system_api.sources.file.documents.records import (
    FoundRecord,
    Records,
    UnreadableDocument,
    encode_values,
)
from shared.errors import Malformed

LARGEST = 128 * 1_048_576
"""Maximum size of a workbook in bytes, unpacked."""

_WHOLE_LIMIT = 2**53
"""A cell holds every integer up to here."""
_LETTERS = 26


def read_excel(file: BinaryIO, sheet: str | None, skip_rows: int) -> Records:
    """Return the rows of a sheet, by default of the first visible one; the row behind `skip_rows` names the columns.

    Raises (while iterating):
        UnreadableDocument: it is no workbook, is too large, has no such sheet, or names a column twice.
        OSError: it cannot be read now.
    """
    packed = _checked(file)
    try:
        workbook = CalamineWorkbook.from_filelike(file)
        found = _sheet(workbook, sheet)
    except PasswordError as exc:
        raise UnreadableDocument("the workbook is encrypted") from exc
    except (CalamineError, XmlError, ZipError, ValueError) as exc:
        raise UnreadableDocument(f"not a workbook that can be read: {exc}") from exc
    yield from _rows(found, skip_rows, faults_of(file, found.name) if packed else {})


def _checked(file: BinaryIO) -> bool:
    """Check the size of a workbook; return whether it is a ZIP archive."""
    size = file.seek(0, os.SEEK_END)
    if packed := is_archive(file):
        with opened_archive(file) as archive:
            size = sum(info.file_size for info in archive.infolist())
    file.seek(0)
    if size > LARGEST:
        raise UnreadableDocument(f"found a workbook of {size} bytes unpacked, the limit is {LARGEST}; save it as CSV")
    return packed


def _sheet(workbook: CalamineWorkbook, name: str | None) -> CalamineSheet:
    if name is None:
        sheets = workbook.sheets_metadata
        visible = [
            each.name
            for each in sheets
            if each.typ is SheetTypeEnum.WorkSheet and each.visible is SheetVisibleEnum.Visible
        ]
        if not visible:
            raise UnreadableDocument("found no visible sheet")
        name = visible[0]
    try:
        return workbook.get_sheet_by_name(name)
    except WorksheetNotFound as exc:
        names = ", ".join(map(repr, workbook.sheet_names[:20]))
        raise UnreadableDocument(f"found no sheet {name!r}; found {names}") from exc


def _rows(sheet: CalamineSheet, skip_rows: int, faults: Faults) -> Records:
    rows = enumerate(sheet.iter_rows(), 1)
    first = 0 if sheet.start is None else sheet.start[1]
    behind = itertools.islice(rows, skip_rows, None)
    number, header = next(((number, cells) for number, cells in behind if not _is_empty(cells)), (skip_rows + 1, []))
    names = [_text(value) for value in header]
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise UnreadableDocument(f"row {number}: found column {twice[0]!r} twice; expected distinct names")
    if not any(names):
        raise UnreadableDocument(
            f"row {number}: found no names of columns; set excel.skip_rows to the rows before them"
        )
    for number, cells in rows:
        found = faults.get(number, {})
        yield None if _is_empty(cells) and not found else _found(names, cells, number, first, found)


def _is_empty(cells: Sequence[Any]) -> bool:
    return all(cell == "" for cell in cells)


def _found(
    names: Sequence[str], cells: Sequence[Any], number: int, first: int, faults: Mapping[int, str]
) -> FoundRecord:
    """Return the record of a row; `first` is the number of the sheet's first column."""
    values, place = {}, f"row {number}"
    for index, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if name:
            values[name] = _value(cell)
        elif cell != "":
            error = f"column {_letters(first + index)} has no name, and found {str(cell)[:80]!r} in it"
            return FoundRecord(repr(list(cells)).encode(errors="replace"), place, error)
    for index, fault in faults.items():
        column = names[index - first] if first <= index < first + len(names) else ""
        error = f"column {column or _letters(index)!r}: {fault}"
        return FoundRecord(repr(values).encode(errors="replace"), place, error)
    try:
        return FoundRecord(encode_values(values), place)
    except Malformed as exc:
        return FoundRecord(repr(values).encode(errors="replace"), place, str(exc))


def _value(cell: Any) -> Any:
    if cell == "" and isinstance(cell, str):
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) <= _WHOLE_LIMIT:
        return int(cell)
    return cell.isoformat() if isinstance(cell, datetime | date | time) else cell


def _text(cell: Any) -> str:
    value = _value(cell)
    return "" if value is None else str(value).strip()


def _letters(index: int) -> str:
    """Return the letters of a column: A for 0, AA for 26."""
    letters = ""
    while index >= 0:
        letters = chr(ord("A") + index % _LETTERS) + letters
        index = index // _LETTERS - 1
    return letters
