"""A small edition in the real layout of 2022, and the real editions built once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import openpyxl
import polars as pl
import pytest

from naics_model.corpus.activities import build_activities
from naics_model.corpus.descriptions import build_descriptions
from naics_model.corpus.editions import Edition, edition

Row = tuple[object, ...]


class SmallEdition:
    """Twelve codes in four workbooks with the headers of 2022; a test changes rows, then builds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.edition: Edition = dataclasses.replace(
            edition('2022'), counts={2: 2, 3: 3, 4: 2, 5: 3, 6: 2}
        )
        # Integers where the Bureau has integers; the blank second row; titles that end in a blank.
        self.codes: list[Row] = [
            ('Seq. No.', '2022 NAICS US   Code', '2022 NAICS US Title', None),
            (None, None, None, None),
            (1, 11, 'Agriculture', None),
            (2, 111, 'Crop Production', None),
            (3, 1111, 'Soybean Farming ', None),
            (4, 11111, 'Soybean Farming\xa0', ' '),
            (5, 111110, 'Soybean Farming', None),
            (6, '31-33', 'Manufacturing', None),
            (7, 311, 'Food Manufacturing', None),
            (8, 336, 'Vehicle Manufacturing', None),
            (9, 3361, 'Motor Vehicle Manufacturing', None),
            (10, 33611, 'Car Manufacturing', None),
            (11, 336110, 'Car Manufacturing', None),
            (12, 33612, 'Truck Manufacturing', None),
        ]
        self.descriptions: list[Row] = [
            ('Code', 'Title', 'Description'),
            (11, 'AgricultureT', 'The Sector as a Whole\r\n\r\nThe sector grows  crops.\r\n'),
            (111, 'Crop ProductionT', 'Industries in this subsector grow crops.'),
            (1111, 'Soybean FarmingT', 'NULL'),
            (11111, 'Soybean FarmingT', 'See industry description for 111110. '),
            (111110, 'Soybean Farming', 'This industry grows soybeans.\n\nCross-References.'),
            (
                '31-33',
                'ManufacturingT',
                'The Sector as a Whole\n\nIt makes things:\n<ul><li>a</li></ul>',
            ),
            (311, 'Food ManufacturingT', 'Food is made.'),
            (336, 'Vehicle Manufacturing', 'Vehicles are made.'),
            (3361, 'Motor Vehicle Manufacturing', 'NULL'),
            (33611, 'Car ManufacturingT', 'See industry description for 336110.'),
            (
                336110,
                'Car Manufacturing',
                'This industry makes cars.\n\nIllustrative Examples:\n\nElectric cars\t\n'
                'Sports cars\n\n\nCross-references. Establishments primarily engaged in--',
            ),
            (33612, 'Truck Manufacturing', 'This industry makes trucks.'),
        ]
        self.cross_references: list[Row] = [
            ('Code', 'Cross-Reference'),
            (111110, 'Milling soybeans--are classified in Subsector 311, Food; and'),
            (336110, 'Growing for 10 years--are classified in Industry 111110, Soybean Farming;'),
            (336110, 'Making cars--are classified in 336110 itself or in Sector 31-33; and'),
            (336110, 'Making trucks--are classified in 33612 and 33612, Truck Manufacturing.'),
            (336110, 'Making trucks--are classified in 33612 and 33612, Truck Manufacturing.'),
        ]
        self.index: list[Row] = [
            ('NAICS22', 'INDEX ITEM DESCRIPTION'),
            (111110, 'Soybean farming, field and seed production'),
            (336110, 'Electric cars '),
            (336110, 'Sedans assembling'),
            ('******', 'Dealers -- see type '),
        ]

    def path(self, name: str) -> Path:
        return self.folder / self.edition.workbook(name).file

    def write(self) -> None:
        for name in ('codes', 'descriptions', 'cross_references', 'index'):
            sheet = self.edition.workbook(name).sheet
            assert sheet is not None
            write_workbook(self.path(name), sheet, getattr(self, name))

    def build(self) -> pl.DataFrame:
        self.write()
        return build_descriptions(
            self.edition,
            self.path('codes'),
            self.path('descriptions'),
            self.path('cross_references'),
        )

    def build_activities(self) -> pl.DataFrame:
        descriptions = self.build()
        return build_activities(self.edition, self.path('index'), descriptions)


def write_workbook(path: Path, sheet: str, rows: list[Row]) -> None:
    book = openpyxl.Workbook()
    page = book.active
    page.title = sheet
    for row in rows:
        page.append(row)
    book.save(path)


@pytest.fixture
def small(tmp_path: Path) -> SmallEdition:
    return SmallEdition(tmp_path)


@pytest.fixture
def save_workbook() -> Callable[[Path, str, list[Row]], None]:
    return write_workbook


def build_real(source_dir: Path, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    wanted = edition(name)
    paths = {key: source_dir / name / book.file for key, book in wanted.workbooks.items()}
    descriptions = build_descriptions(
        wanted, paths['codes'], paths['descriptions'], paths['cross_references']
    )
    return descriptions, build_activities(wanted, paths['index'], descriptions)


@pytest.fixture(scope='session')
def real_2022(source_dir: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The descriptions and activities of 2022."""
    return build_real(source_dir, '2022')


@pytest.fixture(scope='session')
def real_2017(source_dir: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The descriptions and activities of 2017."""
    return build_real(source_dir, '2017')
