"""Which files of a data folder may go: by listings made by hand, and in a real folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from naics_model.corpus.editions import edition
from naics_model.dataset import steps
from naics_model.protocols.protocol import PROTOCOLS
from naics_model.protocols.view import FILES, build_view
from naics_model.storage.files import atomic_write, sha256_of, write_json
from naics_model.storage.layout import EditionFolder
from naics_model.storage.tensors import write_tensors
from naics_model.training.stages import LAST_STAGE
from naics_model.upkeep.leftovers import (
    ASIDE,
    FINISHED,
    LOGS,
    OUTDATED,
    PARTIAL,
    Facts,
    File,
    leftovers,
    list_files,
    read_facts,
    remove,
)

DATA = Path('/data')
STAGE = DATA / '2022/training/stage_1_easy'
OLD, BEFORE, YOUNG = 10.0, 20.0, 30.0


def found(*paths: Path, facts: Facts = Facts(), modified: float = OLD) -> dict[Path, str]:  # noqa: B008
    files = [File(path, 1, modified) for path in paths]
    return {each.file.path: each.kind for each in leftovers(files, facts, BEFORE)}


def fit(folder: Path, *others: str) -> list[Path]:
    names = ('checkpoints/epoch=1-val_loss=0.5.ckpt', 'checkpoints/last.ckpt', *others)
    return [folder / name for name in names]


def test_a_finished_fit_with_a_model_needs_no_checkpoint() -> None:
    best, last, *rest = fit(STAGE, 'result.json', 'model/config.json')
    assert found(best, last, *rest) == {best: FINISHED, last: FINISHED}
    assert found(best, last, *rest, modified=YOUNG) == {}
    assert found(best, last, *rest, facts=Facts(kept={best})) == {last: FINISHED}


def test_a_finished_fit_without_a_model_needs_the_checkpoint_of_its_result() -> None:
    folder = DATA / '2022/refinement'
    best, last, result = fit(folder, 'result.json')
    assert found(best, last, result, facts=Facts(named={folder: best.name})) == {last: FINISHED}
    # Not known what it names, or that is not there: it may be either.
    assert found(best, last, result) == {}
    assert found(best, last, result, facts=Facts(named={folder: 'epoch=9.ckpt'})) == {}


@pytest.mark.parametrize(
    'others', [(), ('checkpoints/unfinished.json', 'result.json', 'model/config.json')]
)
def test_a_fit_that_can_be_gone_on_with_has_all_it_had(others: tuple[str, ...]) -> None:
    assert found(*fit(STAGE, *others)) == {}


def test_what_was_put_aside_or_never_whole_goes_and_what_is_data_stays() -> None:
    aside = STAGE / 'checkpoints_cut_off/last.ckpt'
    partial = DATA / '2022/triplets/.triplets.0a1b2c3d.partial.parquet'
    part = DATA / '2022/source/.2022_NAICS_Index_File.xlsx.part'
    log = DATA / 'mlflow.log'
    data = [
        DATA / '2022' / name
        for name in (
            'triplets/triplets.parquet',
            'source/2022_NAICS_Index_File.xlsx',
            'training/.queries.safetensors.lock',
            'training/queries.safetensors',
            'release/encoder/model.safetensors',
            'mine.ckpt',
        )
    ]
    assert found(aside, partial, part, log, *data) == {
        aside: ASIDE,
        partial: PARTIAL,
        part: PARTIAL,
        log: LOGS,
    }


def test_the_name_of_a_file_that_is_being_written_is_known(tmp_path: Path) -> None:
    with atomic_write(tmp_path / 'a.b.parquet') as temporary:
        assert found(temporary) == {temporary: PARTIAL}
        temporary.touch()


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> EditionFolder:
    """The bundled edition with a view of a protocol, and a model with encoded texts."""
    folder = EditionFolder(tmp_path_factory.mktemp('data'), 'sample')
    for kind in edition('sample').workbooks:
        steps.fetch(folder, kind, None, lambda _: None)
    steps.descriptions(folder)
    steps.activities(folder)
    steps.code_splits(folder)
    build_view(folder, PROTOCOLS['cold'], 'tiny-random')
    model = folder.stage(LAST_STAGE) / 'model'
    model.mkdir(parents=True)
    for name in ('config.json', 'model.safetensors'):
        (model / name).write_text(name)
    digests = [sha256_of(model / name) for name in ('config.json', 'model.safetensors')]
    write_tensors({'tangent': np.zeros((1, 2))}, {'model': digests}, folder.queries)
    return folder


def test_a_cache_goes_when_its_data_is_another(folder: EditionFolder) -> None:
    def outdated() -> set[Path]:
        files = list_files(folder.root)
        facts = read_facts(files, folder.root)
        later = max(file.modified for file in files) + 1
        return {each.file.path for each in leftovers(files, facts, later) if each.kind == OUTDATED}

    assert outdated() == set()
    (folder.stage(LAST_STAGE) / 'model' / 'model.safetensors').write_text('another')
    assert outdated() == {folder.queries}
    folder.descriptions.write_bytes(folder.descriptions.read_bytes() + b' ')
    view = folder.view('cold')
    of_view = {view.view_record, *map(view.file, FILES)}
    assert outdated() == {folder.queries, *of_view}
    # What is damaged is left to those who read it.
    folder.queries.write_bytes(b'?')
    view.view_record.write_text('{')
    assert outdated() == set()


def test_files_are_removed_unless_they_were_written_meanwhile(tmp_path: Path) -> None:
    stage = EditionFolder(tmp_path, 'sample').stage(LAST_STAGE)
    paths = [
        *fit(stage, 'checkpoints_cut_off/last.ckpt'),
        tmp_path / 'sample' / 'run.log',
        tmp_path / 'mlartifacts' / 'page.log',
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('x')
    best, last, aside, log, of_mlflow = paths
    (stage / 'model').mkdir()
    (stage / 'model' / 'config.json').touch()
    write_json({'files': {'checkpoint': {'path': str(best)}}}, stage / 'result.json')
    files = list_files(tmp_path)
    # As it was called before the folder was moved.
    kept = Path('/elsewhere') / best.relative_to(tmp_path)
    going = leftovers(files, read_facts(files, tmp_path, kept={kept}), files[-1].modified + 60)
    assert {each.file.path for each in going} == {last, aside, log}
    os.utime(last, (0, 0))
    remove(going)
    assert [path.exists() for path in paths] == [True, True, False, False, True]
    assert not aside.parent.exists()
    assert of_mlflow.is_file()
    # The same again finds nothing to do.
    remove(going)
