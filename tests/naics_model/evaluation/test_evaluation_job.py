"""The jobs from files to files, with a tiny encoder that understands nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from mlflow.utils.validation import _validate_metric_name

from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.table import embedding_table
from naics_model.evaluation.cli import main
from naics_model.evaluation.guide_search import COLD, EXCLUSIONS, WARM
from naics_model.evaluation.guide_space import STRUCTURE
from naics_model.protocols.splits import build_code_splits
from naics_model.storage.files import read_json, write_json, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.training.stages import LAST_STAGE

DIMENSIONS = 6
# The jobs ask for an edition that is built in; the files are our own.
EDITION = 'sample'


@pytest.fixture(scope='module')
def built(bushy, tmp_path_factory) -> EditionFolder:
    """An edition's folder with all that the jobs read."""
    folder = EditionFolder(tmp_path_factory.mktemp('data'), EDITION)
    six = [code for code in bushy.codes if len(code) == 6]
    following = dict(zip(six, [*six[1:], six[0]], strict=True))
    descriptions = pl.DataFrame(
        {
            'index': range(len(bushy)),
            'level': bushy.levels,
            'code': bushy.codes,
            'title': [f'Title of {code}' for code in bushy.codes],
            'description': [f'Establishments that do {code}.' for code in bushy.codes],
            'examples': [f'Doing {code}' if i % 2 else None for i, code in enumerate(bushy.codes)],
            'excluded': [
                f'Doing other things--are classified in {following[code]}.'
                if code in following
                else None
                for code in bushy.codes
            ],
            'excluded_codes': [
                [following[code]] if code in following else None for code in bushy.codes
            ],
        },
        schema_overrides={'index': pl.UInt32, 'level': pl.UInt8},
    )
    activities = pl.DataFrame(
        {
            'text': [f'work {code} of kind {kind}' for code in six for kind in 'ab'],
            'code': [code for code in six for _ in 'ab'],
            'split': ['heldout', 'train'] * len(six),
            'verbatim': [False, True] * len(six),
        }
    )
    torch.manual_seed(0)
    embedder = NaicsEmbedder('tiny-random', hyperbolic_dim=DIMENSIONS)
    embedder.save_pretrained(folder.stage(LAST_STAGE) / 'model')
    phrases = pl.DataFrame(
        {
            'text': [f'work {code} of kind {kind}' for code in six for kind in 'bc'],
            'code': [code for code in six for _ in 'bc'],
            'split': ['train', 'validation'] * len(six),
        }
    )
    points = embedder.encode(descriptions['title'].to_list())
    moved = points.tangent + 0.1 * torch.randn(points.tangent.shape)
    write_parquet(descriptions, folder.descriptions)
    write_parquet(activities, folder.activities)
    write_parquet(phrases, folder.phrases)
    write_parquet(build_code_splits(descriptions), folder.code_splits)
    for tangent, path in (
        (points.tangent, folder.text_embeddings),
        (moved, folder.refined_embeddings),
    ):
        write_parquet(embedding_table(descriptions, tangent, 1.0, points.unit), path)
    write_json(
        {
            'metrics': {},
            'files': {},
            'details': {
                'curriculum_mix': {'requested': {'1': 1.0}, 'effective': {'1': 1.0}},
                'history': [{'train/loss': 2.0, 'val/loss': 2.5}, {'train/loss': 1.0}],
            },
            'seconds': 3.0,
        },
        folder.stage('stage_1_easy') / 'result.json',
    )
    return folder


@pytest.fixture(scope='module')
def measured(built: EditionFolder) -> EditionFolder:
    """The same folder after all four jobs."""
    assert run(built, 'baselines', '--zero-shot-backbone', 'tiny-random') == 0
    for what in ('text', 'refined', 'report'):
        assert run(built, what) == 0
    return built


@pytest.fixture
def copied(built: EditionFolder, tmp_path: Path) -> EditionFolder:
    """A copy that a test may damage; nothing is measured in it."""
    shutil.copytree(built.path, tmp_path / EDITION, ignore=shutil.ignore_patterns('evaluation'))
    return EditionFolder(tmp_path, EDITION)


def run(folder: EditionFolder, what: str, *options: str) -> int:
    return main([what, '--edition', folder.edition, '--data-dir', str(folder.root), *options])


def metrics_of(folder: EditionFolder, what: str) -> dict[str, float]:
    found: dict[str, float] = read_json(folder.evaluated(what))['metrics']
    return found


def test_baselines_are_measured_under_every_protocol(measured):
    metrics = metrics_of(measured, 'baselines')
    groups = {name.rpartition('/')[0] for name in metrics}
    own = ('cold', 'cold_unquoted', *WARM_GROUPS, 'exclusions', *HIDING, 'parents')
    assert groups == {
        'edition',
        *(f'{name}/{group}' for name in ('bm25', 'tfidf', 'zero_shot') for group in own),
        *(f'{name}/{group}' for name in ('lexical', 'zero_shot_nearest') for group in WARM_GROUPS),
        *(f'{name}/structure' for name in ('zero_shot', 'lorentz_fit', 'euclid_fit')),
    }
    # The code stands in each entry, and so does the word that tells 111110 from 111111.
    assert metrics['bm25/cold/mrr'] > 0
    assert metrics['lorentz_fit/structure/edge_map'] > 0.9
    assert metrics['tfidf/parents/asked'] > metrics['tfidf/heldout_codes/asked'] > 0
    splits = pl.read_parquet(measured.code_splits)
    asked = sum(
        metrics[f'tfidf/heldout_folds/{name}'] for name in ('all_levels_asked', 'trivial_asked')
    )
    assert asked == splits.filter(pl.col('fold') > 0).height


WARM_GROUPS = ('warm', 'warm_hard')
HIDING = ('heldout_codes', 'heldout_folds', 'heldout_subtrees')


@pytest.mark.parametrize('what', ['text', 'refined'])
def test_embeddings_are_measured_with_and_without_what_is_known(measured, what):
    metrics = metrics_of(measured, what)
    groups = {name.rpartition('/')[0] for name in metrics}
    own = ('structure', 'radius', 'collapse', 'exclusions', *WARM_GROUPS)
    assert groups == {
        *(f'{what}/{group}' for group in own),
        *(f'{what}_nearest/{group}' for group in WARM_GROUPS),
        # Refinement leaves the flat reading as it is.
        *(f'text_flat/{group}' for group in WARM_GROUPS if what == 'text'),
    }
    for metric in (*STRUCTURE, *WARM, *EXCLUSIONS):
        assert f'{what}/{metric.key}' in metrics or metric.key == 'structure/worst_distortion'


def test_every_held_out_entry_is_answered(measured):
    asked = pl.read_parquet(measured.activities).filter(pl.col('split') == 'heldout')
    for name in ('answers', 'answers_flat', 'answers_nearest'):
        table = pl.read_parquet(measured.answers('text').with_stem(name))
        assert table.select('text', 'code').equals(asked.select('text', 'code'))
        first = table.filter(pl.col('rank') == 1)
        assert (first['answers'].list.first() == first['code']).all()
        assert table['confidence'].is_between(0, 1).all()
    metrics = metrics_of(measured, 'text')
    for method, name in (('text', 'answers'), ('text_flat', 'answers_flat')):
        ranks = pl.read_parquet(measured.answers('text').with_stem(name))['rank']
        assert metrics[f'{method}/warm/hit_at_1'] == pytest.approx((ranks == 1).mean())
        assert metrics[f'{method}/warm/mrr'] == pytest.approx((1 / ranks).mean())


def test_what_is_refined_is_asked_the_questions_encoded_before(measured, capsys):
    kept = measured.queries
    before = kept.stat().st_mtime_ns
    assert run(measured, 'refined') == 0
    assert 'were encoded before' in capsys.readouterr().err
    assert kept.stat().st_mtime_ns == before


def test_the_report_gathers_it_all(measured):
    written = {
        str(path.relative_to(measured.evaluation))
        for path in measured.evaluation.rglob('*')
        if path.is_file()
    }
    pictures = ('disk', 'distances', 'losses', 'radius', 'reliability', 'sectors')
    assert written == {
        'evaluation_report.md',
        'evaluation_report.html',
        'metrics.json',
        'result.json',
        *(f'figures/{name}.png' for name in pictures),
        *(f'{what}/{file}' for what in WHAT for file in ('metrics.json', 'result.json')),
        *(f'{what}/{file}.parquet' for what in WHAT[1:] for file in ('answers', 'answers_nearest')),
        'text/answers_flat.parquet',
    }
    result = read_json(measured.evaluation / 'result.json')
    for what in WHAT:
        assert metrics_of(measured, what).items() <= result['metrics'].items()
    assert set(result['files']) >= {'evaluation_report', 'evaluation_report_html', 'figure_disk'}
    page = (measured.evaluation / 'evaluation_report.html').read_text()
    assert f'Edition {EDITION}' in page
    assert page.count('data:image/png;base64,') == len(pictures)
    assert str(measured.text_embeddings) in page
    assert 'python -m naics_model.benchmark --edition sample --protocol cold' in page


WHAT = ('baselines', 'text', 'refined')


def test_metric_names_are_accepted_by_mlflow(measured):
    for name in read_json(measured.evaluation / 'metrics.json')['metrics']:
        _validate_metric_name(name)


def with_result(
    measured: EditionFolder, root: Path, path: Path, **content: object
) -> EditionFolder:
    """Copy what was measured, add another result, and write the report again."""
    shutil.copytree(measured.path, root / EDITION)
    folder = EditionFolder(root, EDITION)
    write_json({'command': 'python', **content}, root / EDITION / path.relative_to(measured.path))
    assert run(folder, 'report') == 0
    return folder


def test_a_benchmark_adds_its_protocol_and_nothing_else(measured, tmp_path):
    hits = {f'lorentz/{metric.key}': 0.123 for metric in COLD}
    folder = with_result(
        measured,
        tmp_path,
        measured.benchmark('cold'),
        metrics={**hits, 'lorentz/structure/spearman': 0.456, 'euclidean/cold/hit_at_1': 0.1},
        details={'said': 'The columns Lorentz and Euclidean are models of two seeds.'},
    )
    metrics = read_json(folder.evaluation / 'metrics.json')['metrics']
    assert metrics['lorentz/cold/hit_at_1'] == 0.123
    assert 'lorentz/structure/spearman' not in metrics
    page = (folder.evaluation / 'evaluation_report.md').read_text()
    assert 'models of two seeds' in page
    assert '--protocol cold' not in page


def test_models_of_the_warm_benchmark_stand_beside_the_editions_own(measured, tmp_path):
    figures = {'lorentz/warm/hit_at_1': 0.123, 'euclidean/warm/hit_at_1': 0.456}
    folder = with_result(
        measured,
        tmp_path,
        measured.benchmark('warm'),
        metrics={**figures, 'euclidean/structure/spearman': 0.789},
        details={'said': 'Both were trained for warm.'},
    )
    metrics = read_json(folder.evaluation / 'metrics.json')['metrics']
    assert figures.items() <= metrics.items()
    assert metrics['euclidean/structure/spearman'] == 0.789
    # Said beside search and beside structure, where its columns are.
    assert (folder.evaluation / 'evaluation_report.md').read_text().count('Both were trained') == 2


def test_a_result_of_other_files_is_left_out_and_named(measured, tmp_path):
    folder = with_result(
        measured,
        tmp_path,
        measured.evaluated('bi_encoder'),
        metrics={'bi_encoder/warm/hit_at_1': 1.0},
        details={'said': 'The bar.', 'inputs': {'activities': 'of last year'}},
    )
    metrics = read_json(folder.evaluation / 'metrics.json')['metrics']
    assert 'bi_encoder/warm/hit_at_1' not in metrics
    page = (folder.evaluation / 'evaluation_report.md').read_text()
    assert 'made from other files than the edition has now: bi_encoder.' in page
    assert 'The bar.' not in page


@pytest.mark.parametrize('changed', ['activities', 'phrases', 'text_embeddings'])
def test_a_report_of_other_files_than_were_measured_is_refused(measured, tmp_path, capsys, changed):
    shutil.copytree(measured.path, tmp_path / EDITION)
    folder = EditionFolder(tmp_path, EDITION)
    write_parquet(pl.read_parquet(folder.file(changed)).head(9), folder.file(changed))
    assert run(folder, 'report') == 1
    assert f'({changed}): measure it again' in said_once(capsys)


def test_a_picture_that_is_no_longer_drawn_goes(measured, tmp_path):
    shutil.copytree(measured.path, tmp_path / EDITION)
    folder = EditionFolder(tmp_path, EDITION)
    shutil.rmtree(folder.stage('stage_1_easy'))
    assert run(folder, 'report') == 0
    assert not (folder.evaluation / 'figures' / 'losses.png').exists()
    assert 'No results of training jobs' in (folder.evaluation / 'evaluation_report.md').read_text()


# --- what is wrong is told in one sentence ---


def said_once(capsys: pytest.CaptureFixture[str]) -> str:
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize('missing', ['text_embeddings', 'descriptions', 'activities', 'phrases'])
def test_a_missing_file_is_named(copied, capsys, missing):
    path = copied.file(missing)
    path.unlink()
    assert run(copied, 'text') == 1
    line = said_once(capsys)
    assert str(path) in line
    assert 'does not exist' in line
    assert not copied.evaluated('text').exists()


def test_a_missing_model_is_named(copied, capsys):
    shutil.rmtree(copied.stage(LAST_STAGE))
    assert run(copied, 'text') == 1
    assert str(copied.stage(LAST_STAGE) / 'model') in said_once(capsys)


def test_a_report_without_its_parts_says_which(copied, capsys):
    assert run(copied, 'report') == 1
    assert str(copied.evaluated('baselines')) in said_once(capsys)


def test_embeddings_of_other_codes_are_refused(copied, capsys):
    write_parquet(pl.read_parquet(copied.text_embeddings).reverse(), copied.text_embeddings)
    assert run(copied, 'text') == 1
    assert 'not of the codes in the descriptions' in said_once(capsys)


def test_embeddings_of_another_space_than_the_models_are_refused(copied, capsys):
    codes = pl.read_parquet(copied.descriptions)
    tangent = torch.randn(len(codes), DIMENSIONS)
    write_parquet(embedding_table(codes, tangent, 2.0), copied.refined_embeddings)
    assert run(copied, 'refined') == 1
    assert 'encodes into another space' in capsys.readouterr().err


def test_embeddings_without_the_flat_reading_are_refused(copied, capsys):
    write_parquet(pl.read_parquet(copied.text_embeddings).drop('unit'), copied.text_embeddings)
    assert run(copied, 'text') == 1
    assert 'have no column unit' in capsys.readouterr().err.strip().splitlines()[-1]
    assert not copied.evaluated('text').exists()


def test_activities_of_unknown_codes_are_refused(copied, capsys):
    rows = pl.read_parquet(copied.activities).with_columns(code=pl.lit('999999'))
    write_parquet(rows, copied.activities)
    assert run(copied, 'text') == 1
    assert '999999' in said_once(capsys)


def test_activities_without_a_held_out_part_are_refused(copied, capsys):
    rows = pl.read_parquet(copied.activities).with_columns(split=pl.lit('train'))
    write_parquet(rows, copied.activities)
    assert run(copied, 'text') == 1
    assert 'holds 0 held-out activities, too few' in said_once(capsys)


def test_an_unknown_edition_is_refused(tmp_path, capsys):
    assert main(['report', '--edition', '1997', '--data-dir', str(tmp_path)]) == 1
    assert "no edition '1997'" in said_once(capsys)
