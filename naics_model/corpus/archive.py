"""Bytes of an .xlsx to bytes that a reader may be given: nothing in them can cost more than memory
that is there.

A workbook comes from the network, and a few kilobytes are enough to describe a terabyte: packed
zeros, a cell in the last corner of the sheet (the reader makes all cells before it), one long text
named by each of a million cells, a count of four billion texts. The reader stops its whole process
then, with no word for a person. So each part is unpacked here within a limit, read through once,
and put into a new archive, which alone the reader gets to see: what it unpacks is what was looked
at, whatever a second directory or a wrong size in the old one says.

Nothing is unpacked to disk, so the names of parts lead nowhere. What the cells say is not looked at
here.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from functools import cache
from xml.parsers import expat

from naics_model.errors import WorkbookError

UNPACKED_LIMIT = 32 * 2**20
"""Bytes of all parts; the largest workbook has 4 million."""
PARTS_LIMIT = 1_000
"""The largest has 13."""
CELLS_LIMIT = 2_000_000
"""Of the rectangle that reaches from a sheet's corner to its last cell; the largest has 41,000."""
TEXT_LIMIT = 256 * 2**20
"""Characters of the longest shared text, times the cells that may each name it; the largest has 48
million."""
_DEPTH_LIMIT = 100
_XML = ('.xml', '.rels')
# As the format has it. Others can turn four kilobytes into four gigabytes in one step.
_PACKED_AS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_DIGITS = '0123456789'
# What zipfile raises on bad bytes: wrong offsets are a ValueError or an OSError.
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError)


def readable_copy(content: bytes, name: str) -> bytes:
    """Return a workbook's XML parts in a new archive, each looked through.

    Args:
        content: a zip archive.
        name: where it comes from, for the message.

    Returns:
        An archive of unpacked parts. What is not XML (pictures, printer settings) is left out.

    Raises:
        WorkbookError: it is damaged, locked, no workbook, or larger than any NAICS workbook.
    """
    try:
        parts = _unpacked(content, name)
    except RuntimeError as error:
        # Encrypted parts; NotImplementedError, a subclass, for other ways to pack or lock them.
        raise WorkbookError(
            f'{name} is an .xlsx workbook that is encrypted or packed in an unknown way ({error}): '
            'save it again as .xlsx, without a password.'
        ) from None
    except _DAMAGE as error:
        raise _damaged(name, str(error) or type(error).__name__) from None
    if 'xl/workbook.xml' not in parts:
        raise WorkbookError(
            f'{name} is a zip archive without xl/workbook.xml, so no .xlsx workbook: put the '
            'published workbook itself into NAICS_SOURCE_DIR, or fetch it again.'
        )
    longest = cells = 0
    for part, xml in parts.items():
        extent = _Extent(name, part)
        extent.read(xml)
        longest, cells = max(longest, extent.longest), max(cells, extent.cells)
    if longest * cells > TEXT_LIMIT:
        raise too_large(name, f'{cells:,} cells may each name a text of {longest:,} characters')
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, 'w') as archive:
        for part, xml in parts.items():
            archive.writestr(part, xml)
    return copy.getvalue()


def _unpacked(content: bytes, name: str) -> dict[str, bytes]:
    """Return the XML parts by name; all parts are unpacked, so that damage is found."""
    parts: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        size = sum(entry.file_size for entry in entries)
        if size > UNPACKED_LIMIT or len(entries) > PARTS_LIMIT:
            raise too_large(name, f'it unpacks to {size:,} bytes in {len(entries):,} parts')
        for entry in entries:
            if entry.compress_type not in _PACKED_AS:
                raise NotImplementedError(f'compression method {entry.compress_type}')
            if entry.filename in parts:
                raise zipfile.BadZipFile(f'{entry.filename} is there twice')
            # read() without a size unpacks up to a gigabyte, and cuts it to the size that was added
            # up above only then. One byte more than that: the sum of an empty part is checked, too.
            with archive.open(entry) as packed:
                xml = packed.read(entry.file_size + 1)
            if entry.filename.lower().endswith(_XML):
                parts[entry.filename] = xml
    return parts


class _Extent:
    """Reads a part through, and refuses it as soon as it describes too much.

    Attributes:
        cells: of the rectangle that reaches to the last row and column named, if it is a sheet.
        longest: characters of its longest text, if it is the table of shared ones.
    """

    def __init__(self, name: str, part: str) -> None:
        self.longest = 0
        self._name, self._part = name, part
        self._parser = expat.ParserCreate('utf-8')  # whatever the part says: so does the reader
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._depth = self._text = 0
        # Where the next cell is if it does not say, from 0; and how far cells reach.
        self._row = self._column = 0
        self._rows = self._columns = 0

    @property
    def cells(self) -> int:
        return self._rows * self._columns

    def read(self, xml: bytes) -> None:
        """Read it.

        Raises:
            WorkbookError: it is no XML, declares entities, or describes too much.
        """
        try:
            self._parser.Parse(xml, True)
        except expat.ExpatError as error:
            raise _damaged(self._name, f'{self._part}: {error}') from None

    def _doctype(self, *_: object) -> None:
        raise WorkbookError(
            f'{self._name} declares entities in its part {self._part!r}, as no workbook does: get '
            'the published workbook with a browser and put it into NAICS_SOURCE_DIR.'
        )

    def _start(self, element: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _DEPTH_LIMIT:
            raise too_large(self._name, f'{self._part} is nested {self._depth} deep')
        kind = element.rpartition(':')[2]
        if kind == 'c':
            self._cell(attributes.get('r', ''))
        elif kind == 'row':
            if row := attributes.get('r', ''):
                self._row = self._number(row) - 1
        elif kind == 'sst':
            # The reader makes room for as many before it has read one.
            self._number(attributes.get('uniqueCount', ''))
            self._parser.CharacterDataHandler = self._characters
        elif kind == 'si':
            self._text = 0

    def _cell(self, place: str) -> None:
        letters = place.rstrip(_DIGITS)
        row = self._row + 1
        if place:
            row, self._column = self._number(place[len(letters) :]), _column(letters) - 1
        self._column += 1
        if row > self._rows:
            self._rows = row
        if self._column > self._columns:
            self._columns = self._column
        if self._rows * self._columns > CELLS_LIMIT:
            raise too_large(
                self._name, f'{self._part} has {self._rows:,} rows of {self._columns:,} cells'
            )

    def _number(self, digits: str) -> int:
        # The length first: Python refuses to read thousands of digits.
        number = int(digits[:8]) if digits.isdecimal() else 0
        if number > CELLS_LIMIT or len(digits) > 8:
            raise too_large(self._name, f'{self._part} counts to {digits[:20]}')
        return number

    def _characters(self, text: str) -> None:
        self._text += len(text)

    def _end(self, element: str) -> None:
        self._depth -= 1
        kind = element.rpartition(':')[2]
        if kind == 'row':
            self._row, self._column = self._row + 1, 0
        elif kind == 'si':
            self.longest = max(self.longest, self._text)


@cache
def _column(letters: str) -> int:
    """Return a column's number, from 1: 27 for AA. Beyond Excel's last it is beyond every limit."""
    number = 0
    for letter in letters[:5].upper():
        number = number * 26 + ord(letter) - ord('A') + 1
    return number if len(letters) <= 3 else CELLS_LIMIT + 1


def too_large(name: str, what: str) -> WorkbookError:
    """Return the refusal of what describes more than any NAICS workbook has."""
    return WorkbookError(
        f'{name} is larger than any NAICS workbook ({what}): get the published one with a browser '
        'and put it into NAICS_SOURCE_DIR.'
    )


def _damaged(name: str, reason: str) -> WorkbookError:
    return WorkbookError(
        f'{name} is a damaged or truncated .xlsx workbook ({reason}): fetch it again.'
    )
