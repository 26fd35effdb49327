"""`naics editions list` and `status`, as a person reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from naics_model.cli import main
from naics_model.corpus.editions import expected_editions
from naics_model.storage.files import write_json
from naics_model.storage.layout import EditionFolder
from naics_model.training.stages import LAST_STAGE
from naics_model.upkeep.inventory import holding


def run(*arguments: str) -> int:
    try:
        return main(arguments)
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EditionFolder:
    """The bundled edition as far as its activities, and what training might have left."""
    monkeypatch.setenv('NAICS_DATA_DIR', str(tmp_path))
    assert run('data', '-e', 'sample', '--through', 'activities') == 0
    folder = EditionFolder(tmp_path, 'sample')
    for path in (folder.stage(LAST_STAGE) / 'model' / 'config.json', folder.text_embeddings):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{}')
    write_json({'embeddings': 'text'}, folder.release / 'release.json')
    return folder


def test_what_is_there_of_an_edition(folder: EditionFolder) -> None:
    found = holding(folder)
    assert found.workbooks == {'bundled': 5}
    assert found.tables == ('descriptions', 'activities')
    assert found.lacking[:2] == ('phrases', 'code_splits')
    assert found.stages == (LAST_STAGE,)
    assert (found.embeddings, found.released) == (('text',), 'text')
    paths = [path for path in folder.path.rglob('*') if path.is_file()]
    assert found.bytes == sum(path.stat().st_size for path in paths)
    assert found.newest is not None
    assert found.newest.timestamp() == pytest.approx(max(p.stat().st_mtime for p in paths))


def test_nothing_there(tmp_path: Path) -> None:
    found = holding(EditionFolder(tmp_path, '2017'))
    assert found.workbooks == {'missing': 4}
    assert 'concordance' not in found.lacking
    assert (found.tables, found.stages, found.bytes, found.newest) == ((), (), 0, None)


def test_a_workbook_of_other_bytes_is_new_content(source_dir: Path, tmp_path: Path) -> None:
    folder = EditionFolder(tmp_path, '2022')
    options = ['--data-dir', str(tmp_path), '--source-dir', str(source_dir)]
    assert run('data', '-e', '2022', '--through', 'index_workbook', *options) == 0
    assert holding(folder).workbooks == {'known': 3, 'missing': 2}
    index = folder.source / '2022_NAICS_Index_File.xlsx'
    # Whose bytes were changed since they came is nobody's.
    index.write_bytes(index.read_bytes() + b' ')
    assert holding(folder).workbooks == {'known': 2, 'missing': 3}


def test_both_are_tables_for_a_terminal(
    folder: EditionFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run('editions', 'list') == 0
    listed = capsys.readouterr().out
    assert '2,125' in listed
    assert '20 96 308 689 1,012' in listed
    assert ('not published yet' in listed) == bool(expected_editions())
    assert run('editions', 'status') == 0
    lines = capsys.readouterr().out.splitlines()
    [row] = [line.split() for line in lines if line.startswith('sample ')][:1]
    assert row[:8] == ['sample', '5', 'bundled', '2', 'of', '10', '1', 'text']
    assert 'sample lacks phrases, code_splits, concordance, ' in '\n'.join(lines)
    assert all(len(line) <= 80 for line in lines if not line.startswith(('sample lacks', 'Files')))
