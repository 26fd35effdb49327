"""Small tables of codes and texts, and the data of whole editions up to the splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest

from naics_model.corpus.descriptions import TABLE
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import TINY
from naics_model.storage.layout import EditionFolder
from naics_model.taxonomy.tree import parent_of

Row = Mapping[str, object]


def make_table(texts: Mapping[str, Row]) -> pl.DataFrame:
    """A table as descriptions.parquet, with codes in the given order and all ancestors before them.

    Args:
        texts: code -> its columns; what is not given is a title of its own, and otherwise null.
    """
    codes: dict[str, None] = {}
    for code in texts:
        line = [code]
        while (parent := parent_of(line[-1])) is not None:
            line.append(parent)
        codes.update(dict.fromkeys(reversed(line)))
    rows = [
        {
            'index': number,
            'level': len(code),
            'code': code,
            'title': f'Title {code[::-1]}x',
            'printed_code': code,
            'parent': parent_of(code),
            **texts.get(code, {}),
        }
        for number, code in enumerate(codes)
    ]
    return pl.DataFrame(rows, schema=TABLE.schema)


@pytest.fixture(scope='session')
def table_of() -> Callable[[Mapping[str, Row]], pl.DataFrame]:
    return make_table


def build_through_splits(root: Path, edition: str, source_dir: Path | None) -> EditionFolder:
    folder = EditionFolder(root, edition)
    for step in steps_of(folder, source_dir, TINY):
        if step.name != 'concordance':
            step.run(lambda line: None)
        if step.name == 'code_splits':
            break
    return folder


@pytest.fixture(scope='session')
def sample(tmp_path_factory: pytest.TempPathFactory) -> EditionFolder:
    """The bundled edition with its splits; to be copied by who changes it."""
    return build_through_splits(tmp_path_factory.mktemp('sample'), 'sample', None)


@pytest.fixture(scope='session')
def real(
    source_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], EditionFolder]:
    """2022 and 2017 with their splits."""
    root = tmp_path_factory.mktemp('real')

    def folder(edition: str) -> EditionFolder:
        built = EditionFolder(root, edition)
        return (
            built
            if built.code_splits.is_file()
            else build_through_splits(root, edition, source_dir)
        )

    return folder
