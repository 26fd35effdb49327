"""The real tree of 2022."""

from __future__ import annotations

from pathlib import Path

import fastexcel
import pytest

from naics_model.taxonomy.tree import Taxonomy, normalise_code


@pytest.fixture(scope='session')
def taxonomy_2022(source_dir: Path) -> Taxonomy:
    """The codes of 2022, read from the workbook by its positions."""
    reader = fastexcel.read_excel(source_dir / '2022' / '2-6 digit_2022_Codes.xlsx')
    sheet = reader.load_sheet(0, header_row=None, skip_rows=2, use_columns=[1], dtypes='string')
    return Taxonomy.from_codes([normalise_code(code) for code in sheet.to_polars().to_series()])
