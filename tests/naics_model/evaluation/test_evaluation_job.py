"""The job from files to files, with a tiny encoder that understands nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.table import embedding_table
from naics_model.evaluation.baselines import tfidf_distances, zero_shot_distances
from naics_model.evaluation.cli import main
from naics_model.evaluation.questions import read_questions
from naics_model.storage.files import read_json, write_json, write_parquet

DIMENSIONS = 6


@pytest.fixture(scope='module')
def files(bushy, tmp_path_factory) -> dict[str, Path]:
    """An edition's folder with all that the job reads."""
    root = tmp_path_factory.mktemp('data') / 'tiny'
    descriptions = pl.DataFrame(
        {
            'index': range(len(bushy)),
            'level': bushy.levels,
            'code': bushy.codes,
            'title': [f'Title of {code}' for code in bushy.codes],
            'description': [f'Establishments that do {code}.' for code in bushy.codes],
            'examples': [f'Doing {code}' if i % 2 else None for i, code in enumerate(bushy.codes)],
        },
        schema_overrides={'index': pl.UInt32, 'level': pl.UInt8},
    )
    six = [code for code in bushy.codes if len(code) == 6]
    activities = pl.DataFrame(
        {
            'text': [f'work {code} of kind {kind}' for code in six for kind in 'ab'],
            'code': [code for code in six for _ in 'ab'],
            'split': ['heldout', 'train'] * len(six),
            'verbatim': False,
        }
    )
    torch.manual_seed(0)
    embedder = NaicsEmbedder('tiny-random', hyperbolic_dim=DIMENSIONS)
    embedder.save_pretrained(root / 'training' / 'stage_1_easy' / 'model')
    tangent = embedder.encode(descriptions['title'].to_list())
    paths = {
        'text-embeddings': root / 'training' / 'text_embeddings.parquet',
        'refined-embeddings': root / 'refinement' / 'refined_embeddings.parquet',
        'descriptions': root / 'corpus' / 'descriptions.parquet',
        'activities': root / 'corpus' / 'activities.parquet',
        'model': root / 'training' / 'stage_1_easy' / 'model',
        'stage-results': root / 'training' / 'stage_1_easy' / 'result.json',
    }
    write_parquet(descriptions, paths['descriptions'])
    write_parquet(activities, paths['activities'])
    write_parquet(embedding_table(descriptions, tangent, 1.0), paths['text-embeddings'])
    moved = tangent + 0.1 * torch.randn(tangent.shape)
    write_parquet(embedding_table(descriptions, moved, 1.0), paths['refined-embeddings'])
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
        paths['stage-results'],
    )
    return paths


def arguments(files: dict[str, Path], out: Path, **changed: Path) -> list[str]:
    given = {**files, **{name.replace('_', '-'): path for name, path in changed.items()}}
    options = [word for name, path in given.items() for word in (f'--{name}', str(path))]
    return [*options, '--out', str(out), '--zero-shot-backbone', 'tiny-random']


def test_job_writes_report_metrics_and_result(files, tmp_path):
    assert main([*arguments(files, tmp_path), '--max-queries', '30']) == 0
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*') if p.is_file()}
    assert written == {
        'evaluation_report.md',
        'evaluation_report.html',
        'metrics.json',
        'result.json',
        'figures/disk.png',
        'figures/distances.png',
        'figures/losses.png',
        'figures/radius.png',
    }
    result = read_json(tmp_path / 'result.json')
    metrics = read_json(tmp_path / 'metrics.json')
    assert result['metrics'] == metrics['metrics']
    assert (metrics['edition'], metrics['codes'], metrics['queries']) == ('tiny', 280, 30)
    assert set(result['files']) >= {'evaluation_report', 'evaluation_report_html', 'figure_disk'}
    for method in ('text', 'refined', 'tfidf', 'zero_shot'):
        assert 0 <= result['metrics'][f'{method}/retrieval/hit_at_10'] <= 1
    for method in ('text', 'refined'):
        assert -1 <= result['metrics'][f'{method}/structure/spearman'] <= 1
    page = (tmp_path / 'evaluation_report.html').read_text()
    assert 'Edition tiny' in page
    assert page.count('data:image/png;base64,') == 4
    for path in files.values():
        if path.is_file():
            assert str(path) in page


def test_metric_names_are_accepted_by_mlflow(files, tmp_path):
    from mlflow.utils.validation import _validate_metric_name

    assert main([*arguments(files, tmp_path), '--max-queries', '5']) == 0
    for name in read_json(tmp_path / 'metrics.json')['metrics']:
        _validate_metric_name(name)


def test_second_run_gives_the_same_figures_and_no_stale_picture(files, tmp_path):
    few = ['--max-queries', '5']
    assert main([*arguments(files, tmp_path), *few]) == 0
    first = read_json(tmp_path / 'metrics.json')
    bare = {name: path for name, path in files.items() if name != 'stage-results'}
    assert main([*arguments(bare, tmp_path), *few]) == 0
    assert read_json(tmp_path / 'metrics.json') == first
    assert not (tmp_path / 'figures' / 'losses.png').exists()


def test_train_activities_are_never_asked(files):
    questions = read_questions(files['descriptions'], files['activities'], None)
    assert questions.held_out == len(questions.texts)
    assert all(text.endswith('kind a') for text in questions.texts)
    for text, truth in zip(questions.texts, questions.truth, strict=True):
        assert questions.candidate_codes[truth] in text
    assert questions.documents[0] == 'Title of 11. Establishments that do 11.'
    assert questions.documents[1] == 'Title of 111. Establishments that do 111. Doing 111'
    few = read_questions(files['descriptions'], files['activities'], 10)
    assert (len(few.texts), few.held_out) == (10, questions.held_out)
    again = read_questions(files['descriptions'], files['activities'], 10)
    assert few.texts == again.texts


@pytest.mark.parametrize(
    'missing',
    [
        'text_embeddings',
        'refined_embeddings',
        'descriptions',
        'activities',
        'model',
        'stage_results',
    ],
)
def test_missing_file_is_one_sentence_and_exit_code_1(files, tmp_path, capsys, missing):
    absent = tmp_path / 'absent'
    assert main(arguments(files, tmp_path / 'out', **{missing: absent})) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert str(absent) in lines[0]
    assert 'does not exist' in lines[0]
    assert not (tmp_path / 'out' / 'result.json').exists()


def test_embeddings_of_another_edition_are_refused(files, tmp_path, capsys):
    shorter = tmp_path / 'descriptions.parquet'
    write_parquet(pl.read_parquet(files['descriptions']).head(100), shorter)
    few = tmp_path / 'activities.parquet'
    write_parquet(pl.read_parquet(files['activities']).head(4), few)
    assert main(arguments(files, tmp_path, descriptions=shorter, activities=few)) == 1
    assert 'not of the codes in the descriptions' in capsys.readouterr().err


def test_refined_embeddings_in_another_space_are_refused(files, tmp_path, capsys):
    other = tmp_path / 'refined.parquet'
    descriptions = pl.read_parquet(files['descriptions'])
    tangent = torch.randn(len(descriptions), DIMENSIONS)
    write_parquet(embedding_table(descriptions, tangent, 2.0), other)
    assert main(arguments(files, tmp_path, refined_embeddings=other)) == 1
    assert 'not in one space' in capsys.readouterr().err


def test_model_of_another_space_is_refused(files, tmp_path, capsys):
    NaicsEmbedder('tiny-random', hyperbolic_dim=DIMENSIONS + 1).save_pretrained(tmp_path / 'model')
    assert main(arguments(files, tmp_path / 'out', model=tmp_path / 'model')) == 1
    assert 'encodes into another space' in capsys.readouterr().err


def test_activities_of_unknown_codes_are_refused(files, tmp_path, capsys):
    other = tmp_path / 'activities.parquet'
    changed = pl.read_parquet(files['activities']).with_columns(code=pl.lit('999999'))
    write_parquet(changed, other)
    assert main(arguments(files, tmp_path, activities=other)) == 1
    assert '999999' in capsys.readouterr().err


def test_activities_without_a_held_out_part_are_refused(files, tmp_path, capsys):
    other = tmp_path / 'activities.parquet'
    changed = pl.read_parquet(files['activities']).with_columns(split=pl.lit('train'))
    write_parquet(changed, other)
    assert main(arguments(files, tmp_path, activities=other)) == 1
    assert 'no held-out activity' in capsys.readouterr().err


# --- baselines ---


def test_tfidf_prefers_shared_words_and_knows_nothing_of_foreign_ones():
    candidates = ['Soybean farming', 'Retail bakeries', 'Offices of dentists']
    distance = tfidf_distances(candidates, ['bakery', 'dentist office', 'xyzzy'])
    assert distance[0].argmin() == 1
    assert distance[1].argmin() == 2
    assert distance[2].tolist() == [1.0, 1.0, 1.0]


def test_zero_shot_distances_do_not_depend_on_company_in_the_batch():
    candidates = ['Soybean farming', 'Retail bakeries and other shops that sell bread']
    queries = ['bread', 'growing soybeans', 'Soybean farming']
    together = zero_shot_distances(candidates, queries, backbone='tiny-random')
    alone = np.concatenate(
        [zero_shot_distances(candidates, [query], backbone='tiny-random') for query in queries]
    )
    assert together == pytest.approx(alone, abs=1e-5)
    assert together[2, 0] == pytest.approx(0, abs=1e-5)


def test_packaged_encoder_understands_words_it_does_not_share():
    candidates = ['Offices of dentists', 'Retail bakeries', 'Soybean farming']
    distance = zero_shot_distances(candidates, ['tooth doctor', 'fresh bread shop'])
    assert distance.argmin(axis=1).tolist() == [0, 1]
