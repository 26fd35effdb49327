"""`naics data` as people run it: the bundled edition, the real one, and broken workbooks."""

from __future__ import annotations

import dataclasses
import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import polars as pl
import pytest

from naics_model.checks import Check
from naics_model.cli import main
from naics_model.console import plain_console
from naics_model.corpus import download
from naics_model.corpus.editions import edition
from naics_model.dataset import steps
from naics_model.dataset.steps import Made, Step
from naics_model.dataset.terminal import Done, build, summary
from naics_model.jobs.cost import Cost
from naics_model.storage.layout import EditionFolder
from naics_model.triplets.relation_index import RelationIndex


def run(*arguments: str | Path) -> int:
    """The exit code of the command, run in this process."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a `.env` decides what these tests do."""
    monkeypatch.delenv('NAICS_SOURCE_DIR', raising=False)
    monkeypatch.delenv('NAICS_DATA_DIR', raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_bundled_edition_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'naics_model.cli', 'data', '--edition', 'sample'],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    folder = EditionFolder(tmp_path / 'data', 'sample')
    for path in (folder.concordance, folder.relations, folder.triplets, folder.token_cache):
        assert path.is_file()
    # A line for each step, and one in the summary.
    assert done.stdout.count('descriptions ') == 2
    assert '235 rows' in done.stdout
    assert 'checks passed' in done.stdout
    assert 'in all' in done.stdout
    assert 'naics data validate --edition sample' in done.stdout


def test_through_a_step_and_no_farther(tmp_path: Path) -> None:
    assert run('data', '-e', 'sample', '--through', 'activities') == 0
    folder = EditionFolder(tmp_path / 'data', 'sample')
    assert folder.activities.is_file()
    assert not folder.distances.exists()


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['--edition', '1987'], "There is no edition '1987': choose one of sample, 2017, 2022"),
        (['--edition', 'sample', '--through', 'lunch'], 'one of codes_workbook, '),
        (['--edition', 'sample', '--backbone', 'nobody/nothing'], 'nobody/nothing'),
        (['validate'], 'holds no edition to check'),
    ],
)
def test_a_mistaken_request_gets_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run('data', *arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith('Error: ')
    assert sentence in said
    assert said.count('\n') == 1


def test_options_before_a_subcommand_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run('data', '--edition', 'sample', '--data-dir', 'd', 'validate') == 1
    said = capsys.readouterr().err
    assert said.startswith('Error: --edition, --data-dir must stand after validate: ')


def test_settings_are_read_from_the_folder_s_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / '.env').write_text(f'NAICS_DATA_DIR={tmp_path / "elsewhere"}\n')
    # Set and unset, so that what the file sets is taken back after the test.
    monkeypatch.setenv('NAICS_DATA_DIR', '')
    monkeypatch.delenv('NAICS_DATA_DIR')
    assert run('data', '-e', 'sample', '--through', 'codes_workbook') == 0
    assert (tmp_path / 'elsewhere' / 'sample' / 'source').is_dir()


def test_a_narrow_terminal_keeps_the_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('COLUMNS', '40')
    run('data', '-e', 'sample', '--through', 'descriptions')
    assert '\ndescriptions                235 ' in capsys.readouterr().out


def test_the_figures_of_a_real_edition_are_whole_in_80_columns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / 'triplets.parquet'
    with path.open('wb') as file:
        file.truncate(1_234_567_890)  # sparse: it takes no room
    cost = Cost(seconds=1234.5, cpu_seconds=2345.67, peak_memory_bytes=12_345_000_000)
    check = Check('good', True, True, 'It is good.', 'It is good.')
    longest = 'cross_references_workbook'
    done = Done(longest, Made(path, ''), cost, 1_074_526_926, [check] * 13)
    monkeypatch.setenv('COLUMNS', '80')
    plain_console().print(summary([done], 'Edition 2022'))
    row = next(line for line in capsys.readouterr().out.splitlines() if longest in line)
    figures = [longest, '1,074,526,926', '1234.57', '2345.67', '12345', '13', 'of', '13']
    assert row.split() == figures


# Rich would read the first three as its markup and as an emoji, and fail at the second.
ODD = 'da[old]ta [/y] :warning:'


def test_paths_are_shown_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ('-e', 'sample', '--data-dir', tmp_path / ODD)
    assert run('data', *arguments, '--through', 'relation_index') == 0
    said = capsys.readouterr().out
    assert f'\nFiles        {tmp_path}/{ODD}/sample\n' in said
    assert f"naics data validate --edition sample --data-dir '{tmp_path}/{ODD}'\n" in said
    assert run('data', 'validate', *arguments) == 0
    assert f'Edition sample, {tmp_path}/{ODD}/sample\n' in capsys.readouterr().out


def test_what_steps_and_checks_say_is_shown_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = Check('odd', False, False, ODD, f'sentence {ODD}', ({'column': ODD},))

    def work(progress: Callable[[str], None]) -> Made:
        progress(f'Copying {ODD}')
        return Made(tmp_path, '', checks=[check], remarks=[f'remark {ODD}'])

    build(EditionFolder(tmp_path, 'sample'), [Step('odd', work)], plain_console())
    said = capsys.readouterr().out
    for words in (f'Copying {ODD}', f'note: remark {ODD}', f'sentence {ODD}', f'column={ODD}'):
        assert f'{words}\n' in said


def test_where_nothing_can_be_written_a_sentence_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'file').write_text('no folder')
    assert run('data', '-e', 'sample', '--data-dir', tmp_path / 'file') == 1
    said = capsys.readouterr().err
    assert said.startswith(f'Error: {tmp_path}/file/sample/source/')
    assert 'could not be written (Not a directory): free space or permissions there' in said


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert run('data', '--help') == 0
    said = capsys.readouterr().out
    for word in ('--edition', '--through', 'NAICS_SOURCE_DIR', 'validate', 'naics data --edition'):
        assert word in said


def test_validate_finds_what_was_changed_behind_its_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run('data', '-e', 'sample', '--through', 'relations')
    assert run('data', 'validate') == 0
    assert 'Edition sample' in capsys.readouterr().out

    folder = EditionFolder(tmp_path / 'data', 'sample')
    table = pl.read_parquet(folder.distances)
    halved = pl.when(pl.col('distance') == 10).then(5).otherwise('distance').cast(pl.Float32)
    table.with_columns(distance=halved).write_parquet(folder.distances)
    pl.read_parquet(folder.activities).drop('verbatim').write_parquet(folder.activities)
    folder.relations.write_bytes(folder.relations.read_bytes()[:1000])
    assert run('data', 'validate', '--edition', 'sample') == 1
    said = capsys.readouterr()
    assert 'check failed' in said.out
    assert 'distance=5.0' in said.out
    assert 'verbatim differs' in said.out
    assert 'phrases         not checked, for want of good activities' in said.out
    assert (
        said.err == 'Error: These files are not fit for use: sample/activities, '
        'sample/distances, sample/relations; build them again with naics data --edition sample.\n'
    )


def test_validate_looks_at_every_edition_and_at_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run('data', '-e', 'sample', '--through', 'activities')
    shutil.copytree(tmp_path / 'data' / 'sample', tmp_path / 'data' / '2017')
    capsys.readouterr()
    assert run('data', 'validate') == 1
    said = capsys.readouterr()
    # The sample's codes under the name of 2017 are not those of 2017.
    assert 'level=2  expected=20  found=7' in said.out
    assert 'concordance     not there' in said.out.partition('Edition 2017')[0]
    assert 'concordance' not in said.out.partition('Edition 2017')[2]
    assert said.err == (
        'Error: These files are not fit for use: 2017/descriptions; build them again with naics '
        'data --edition 2017.\n'
    )

    EditionFolder(tmp_path / 'data', '2017').descriptions.unlink()
    assert run('data', 'validate', '--edition', '2017') == 1
    said = capsys.readouterr()
    assert 'activities      not checked, for want of good descriptions' in said.out
    assert said.err.startswith('Error: These files are not fit for use: 2017/descriptions; ')


# What stands in for a mistake of this program, or for a workbook that nobody has thought of.
BROKEN = {
    'descriptions': ('build_descriptions', lambda table: table.head(200)),
    'activities': (
        'build_activities',
        lambda table: table.with_columns(code=pl.lit('999999')),
    ),
    'phrases': (
        'kept_phrases',
        lambda table: table.with_columns(source=pl.lit('elsewhere')),
    ),
    'code_splits': (
        'build_code_splits',
        lambda table: table.with_columns(subtrees=pl.lit('heldout')),
    ),
    'concordance': ('build_concordance', lambda table: pl.concat([table, table.head(1)])),
    'distances': ('distance_table', lambda table: table.head(1000)),
    'relations': ('relation_table', lambda table: table.head(1000)),
}


@pytest.mark.parametrize('name', list(BROKEN))
def test_a_table_that_breaks_a_guarantee_does_not_replace_the_last_good_one(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    run('data', '-e', 'sample', '--through', 'relations')
    path = EditionFolder(tmp_path / 'data', 'sample').file(name)
    good = path.read_bytes()
    function, spoil = BROKEN[name]
    build = getattr(steps, function)
    monkeypatch.setattr(steps, function, lambda *arguments: spoil(build(*arguments)))
    capsys.readouterr()
    assert run('data', '-e', 'sample', '--through', 'relations') == 1
    assert capsys.readouterr().err.startswith(f'Error: {path} was not written: ')
    assert path.read_bytes() == good


def test_what_differs_from_the_published_triplets_stops_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run('data', '-e', 'sample', '--through', 'triplets')
    load = RelationIndex.load

    def without_cross_references(path: Path) -> RelationIndex:
        index = load(path)
        none = np.zeros(len(index) + 1, np.int32)
        return dataclasses.replace(
            index, exclusion_offsets=none, exclusion_targets=np.zeros(0, np.uint16)
        )

    monkeypatch.setattr(RelationIndex, 'load', without_cross_references)
    capsys.readouterr()
    assert run('data', '-e', 'sample', '--through', 'relation_index') == 1
    said = capsys.readouterr()
    assert 'check failed' in said.out
    assert 'relation_index.safetensors is not fit for use' in said.err


def test_wrong_triplets_are_found_without_the_relation_index(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run('data', '-e', 'sample', '--through', 'triplets')
    path = EditionFolder(tmp_path / 'data', 'sample').triplets
    rows = pl.read_parquet(path)
    easier = pl.when(pl.col('hardness') == 7).then(6).otherwise('hardness').cast(pl.UInt8)
    rows.with_columns(hardness=easier).write_parquet(path)
    capsys.readouterr()
    assert run('data', 'validate') == 1
    said = capsys.readouterr()
    count = (rows['hardness'] == 7).sum()
    assert f'check failed: {count:,} triplets have another hardness than their dist' in said.out
    assert 'hardness=6  positive_distance=3  negative_distance=4  triplets=' in said.out
    assert 'not fit for use: sample/triplets;' in said.err


def test_a_workbook_of_new_content_is_remarked_on(
    source_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(source_dir / '2022', tmp_path / 'source' / '2022')
    shutil.copytree(source_dir / 'concordances', tmp_path / 'source' / 'concordances')
    index = tmp_path / 'source' / '2022' / '2022_NAICS_Index_File.xlsx'
    index.chmod(0o644)
    index.write_bytes(index.with_name(f'{index.stem}.earlier-release.xlsx').read_bytes())
    arguments = ('--source-dir', tmp_path / 'source', '--through', 'index_workbook')
    assert run('data', '-e', '2022', *arguments) == 0
    said = capsys.readouterr().out
    assert said.count('note: not the bytes that this release was tested with') == 1


# Each of the following breaks one workbook of the real edition, in one way.


def rewritten(path: Path, change: Callable[[openpyxl.worksheet.worksheet.Worksheet], None]) -> None:
    book = openpyxl.load_workbook(path)
    change(book.active)
    path.unlink()
    book.save(path)


def row_of(page: openpyxl.worksheet.worksheet.Worksheet, code: int, column: int = 1) -> int:
    return next(row for row in range(1, page.max_row + 1) if page.cell(row, column).value == code)


def rename_sheet(path: Path) -> None:
    rewritten(path, lambda page: setattr(page, 'title', 'Sheet1'))


def rename_column(path: Path) -> None:
    def change(page: openpyxl.worksheet.worksheet.Worksheet) -> None:
        page.cell(1, 2).value = 'NAICS Code'

    rewritten(path, change)


def repeat_a_code(path: Path) -> None:
    def change(page: openpyxl.worksheet.worksheet.Worksheet) -> None:
        page.cell(row_of(page, 111120, 2), 2).value = 111110

    rewritten(path, change)


def remove_a_parent(path: Path) -> None:
    rewritten(path, lambda page: page.delete_rows(row_of(page, 11111, 2)))


# A code with siblings and without cross-references, so that only the number of codes is wrong.
def remove_a_leaf(path: Path) -> None:
    rewritten(path, lambda page: page.delete_rows(row_of(page, 111411, 2)))


def remove_the_description(path: Path) -> None:
    rewritten(path, lambda page: page.delete_rows(row_of(page, 111411)))


def empty_a_description(path: Path) -> None:
    def change(page: openpyxl.worksheet.worksheet.Worksheet) -> None:
        page.cell(row_of(page, 111110), 3).value = ' \n<p> </p>\n'

    rewritten(path, change)


def save_as_html(path: Path) -> None:
    path.unlink()
    path.write_text('<!DOCTYPE html><html><body>Please sign in to the proxy</body></html>')


def save_as_xls(path: Path) -> None:
    path.unlink()
    path.write_bytes(b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1' + bytes(2000))


@pytest.fixture(scope='module')
def built(source_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with good tables of 2022."""
    folder = tmp_path_factory.mktemp('built')
    arguments = ('-e', '2022', '--through', 'activities', '--source-dir', source_dir)
    assert run('data', *arguments, '--data-dir', folder) == 0
    return folder


@pytest.mark.parametrize(
    ('workbooks', 'said'),
    [
        ({'codes': rename_sheet}, ["no sheet 'tbl_2022_title_description_coun'", "'Sheet1'"]),
        ({'codes': rename_column}, ["no column '2022 NAICS US Code'", 'editions.toml']),
        ({'index': save_as_html}, ['it looks like a web page']),
        ({'index': save_as_xls}, ['it looks like an old .xls; save it as .xlsx']),
        ({'codes': repeat_a_code}, ['rows 7, 9: code 111110 must be unique']),
        ({'codes': remove_a_parent}, ['111110', '11111 ']),
        (
            {'codes': remove_a_leaf, 'descriptions': remove_the_description},
            ['level 6, expected 1,012, found 1,011', 'editions.toml'],
        ),
        ({'descriptions': empty_a_description}, ['code 111110, column description']),
    ],
    ids=lambda value: (
        '-'.join(f.__name__ for f in value.values()) if isinstance(value, dict) else ''
    ),
)
def test_a_bad_workbook_gets_one_sentence_and_the_last_good_data_stay(
    source_dir: Path,
    built: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    workbooks: dict[str, Callable[[Path], None]],
    said: list[str],
) -> None:
    shutil.copytree(built, tmp_path / 'data')
    folder = EditionFolder(tmp_path / 'data', '2022')
    before = folder.descriptions.read_bytes(), folder.activities.read_bytes()
    shutil.copytree(source_dir / '2022', tmp_path / 'source' / '2022')
    shutil.copytree(source_dir / 'concordances', tmp_path / 'source' / 'concordances')
    for kind, make_bad in workbooks.items():
        path = tmp_path / 'source' / '2022' / edition('2022').workbook(kind).file
        path.chmod(0o644)
        path.parent.chmod(0o755)
        make_bad(path)

    capsys.readouterr()
    code = run('data', '-e', '2022', '--source-dir', tmp_path / 'source', '--through', 'activities')
    sentence = capsys.readouterr().err
    assert code == 1
    assert sentence.startswith('Error: ')
    assert sentence.count('\n') == 1
    bad_files = [edition('2022').workbook(kind).file for kind in workbooks]
    assert any(file in sentence for file in bad_files)
    for words in said:
        assert words in sentence
    assert (folder.descriptions.read_bytes(), folder.activities.read_bytes()) == before


def test_a_workbook_that_changes_while_it_is_read_is_refused(
    source_dir: Path,
    built: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(built, tmp_path / 'data')
    folder = EditionFolder(tmp_path / 'data', '2022')
    before = folder.descriptions.read_bytes()
    path = tmp_path / '2022' / edition('2022').workbook('codes').file
    path.parent.mkdir()
    path.write_bytes((source_dir / '2022' / path.name).read_bytes())
    read_steady = download.read_steady

    class GrowingFile(io.FileIO):
        """What a program that saves the workbook at this moment looks like to its reader."""

        def read(self, size: int | None = -1) -> bytes:
            content = super().read(size)
            with io.FileIO(path, 'a') as file:
                file.write(b'more')
            return content

    def read_while_another_writes(path: Path) -> bytes:
        with monkeypatch.context() as patch:
            patch.setattr(Path, 'open', lambda path, *_, **__: GrowingFile(path))
            return read_steady(path)

    monkeypatch.setattr(download, 'read_steady', read_while_another_writes)
    capsys.readouterr()
    assert run('data', '--source-dir', tmp_path, '--through', 'descriptions') == 1
    assert capsys.readouterr().err == (
        f'Error: {path} changed while it was read: wait until the program that writes it is done, '
        'or close it there, then run again.\n'
    )
    assert folder.descriptions.read_bytes() == before
