"""The page in `docs/` is what the code says now, and says it of every column."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from naics_model.cli import main
from naics_model.dataset.dictionary import PUBLISHED, data_dictionary
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import MINILM
from naics_model.storage.layout import EditionFolder

PAGE = Path(__file__).parents[3] / 'docs' / 'dataset_specification.md'


@pytest.fixture(scope='module')
def sample(tmp_path_factory: pytest.TempPathFactory) -> EditionFolder:
    folder = EditionFolder(tmp_path_factory.mktemp('data'), 'sample')
    for step in steps_of(folder, None, MINILM):
        step.run(lambda line: None)
    return folder


def test_the_page_is_the_one_that_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(['data', 'dictionary'])
    assert ended.value.code == 0
    assert capsys.readouterr().out == PAGE.read_text('utf-8'), 'run make dictionary'


def test_every_file_has_the_columns_that_are_described(sample: EditionFolder) -> None:
    for table in PUBLISHED:
        assert pl.read_parquet_schema(sample.file(table.name)) == table.schema


def test_every_table_and_column_is_on_the_page(sample: EditionFolder) -> None:
    page = data_dictionary(sample)
    for table in PUBLISHED:
        assert f'\n## {table.name}\n' in page
        for column in table.columns:
            assert f'| `{column.name}` | {column.type_name} |' in page


def test_the_commands_on_the_page_show_what_they_order_by(
    sample: EditionFolder, tmp_path: Path
) -> None:
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / '2022').symlink_to(sample.path)
    said = []
    for command in re.findall(
        r'^\.venv/bin/(python -c .*)$', PAGE.read_text('utf-8'), re.MULTILINE
    ):
        program = shlex.split(command)[1:]
        done = subprocess.run(
            [sys.executable, *program], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert len(said) == 2
    heading = next(line for line in said[1].splitlines() if 'negative_code' in line)
    assert {'hardness', 'excluded'} <= set(heading.split())
    assert '…' not in heading


SIZES = {
    'sample': (235, 699, 912, 235, 115, 27_495, 4_023, 1_700_937),
    '2017': (2_196, 20_057, 21_738, 2_196, None, 2_410_110, 289_692, 1_074_526_926),
    '2022': (2_125, 20_373, 22_032, 2_125, 1_150, 2_256_750, 272_103, 975_831_605),
}


def held_out(folder: EditionFolder) -> list[str]:
    """How many codes are held out, as the page has it."""
    splits = pl.read_parquet(folder.code_splits).with_columns(level=pl.col('code').str.len_chars())
    drawn, group = (
        splits.filter(pl.col(split) == 'heldout') for split in ('stratified', 'subtrees')
    )
    six, four = (splits.filter(pl.col('level') == level).height for level in (6, 4))
    leaves = splits.filter(level=6)
    return [
        f'{drawn.filter(pl.col("level") == 6).height} of {six:,}',
        str(drawn.height),
        f'{group.filter(pl.col("level") == 4).height} of {four:,}',
        str(group.filter(pl.col('level') == 6).height),
        str(group.height),
        ', '.join(str(leaves.filter(fold=fold).height) for fold in range(1, 6)),
        ', '.join(str(splits.filter(fold=fold).height) for fold in range(1, 6)),
        str(leaves.filter(fold=0).height),
    ]


def held_out_on_the_page(edition: str) -> list[str]:
    table = PAGE.read_text('utf-8').partition('| held out |')[2].partition('\n\n')[0]
    rows = [line.strip('| ').split(' | ') for line in table.splitlines()[2:]]
    return [row[1 + list(SIZES).index(edition)] for row in rows]


def test_the_sizes_on_the_page_are_these() -> None:
    page = PAGE.read_text('utf-8')
    for table, row in zip(PUBLISHED, zip(*SIZES.values(), strict=True), strict=True):
        cells = ' | '.join('–' if size is None else f'{size:,}' for size in row)
        assert f'| {table.name} | {cells} |' in page


def test_sizes_of_the_sample(sample: EditionFolder) -> None:
    found = [pl.scan_parquet(sample.file(t.name)).select(pl.len()).collect() for t in PUBLISHED]
    assert [frame.item() for frame in found] == list(SIZES['sample'])
    assert held_out(sample) == held_out_on_the_page('sample')


@pytest.mark.parametrize('edition', ['2017', '2022'])
def test_sizes_and_distances_of_the_real_editions(
    source_dir: Path, tmp_path: Path, edition: str
) -> None:
    # Without triplets, which take a minute: tests/naics_model/triplets counts those of 2022.
    folder = EditionFolder(tmp_path, edition)
    for step in steps_of(folder, source_dir, MINILM):
        step.run(lambda line: None)
        if step.name == 'relations':
            break
    tables = [table.name for table in PUBLISHED[:-1]]
    paths = {name: folder.file(name) for name in tables}
    found = [pl.read_parquet(path).height if path.is_file() else None for path in paths.values()]
    assert found == list(SIZES[edition][:-1])
    assert held_out(folder) == held_out_on_the_page(edition)

    page = PAGE.read_text('utf-8')
    column = ['2017', '2022'].index(edition)
    histogram = pl.read_parquet(folder.distances)['distance'].value_counts()
    for distance, count in histogram.iter_rows():
        line = next(line for line in page.splitlines() if line.startswith(f'| {distance} |'))
        assert line.strip('| ').split(' | ')[1 + column] == f'{count:,}'
