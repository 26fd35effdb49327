"""What the report says, from made-up results."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from naics_model.errors import DataError
from naics_model.evaluation.document import Code, Table, to_html, to_markdown
from naics_model.evaluation.guide import COLLAPSE, RADIUS, RETRIEVAL, STRUCTURE, SUMMARY
from naics_model.evaluation.radius import collapse_metrics, radius_metrics
from naics_model.evaluation.report import Evaluation, build_report
from naics_model.evaluation.retrieval import retrieval_metrics
from naics_model.evaluation.runs import Run, read_run
from naics_model.evaluation.structure import structure_metrics
from naics_model.taxonomy.distances import tree_distances
from naics_model.triplets.hardness import HARDNESS

PICTURES = {name: name.encode() for name in ('distances.png', 'radius.png', 'disk.png')}


@pytest.fixture
def evaluation() -> Evaluation:
    metrics = {'edition/spearman_ceiling': 0.977}
    for number, method in enumerate(('text', 'refined', 'tfidf', 'zero_shot')):
        groups = (RETRIEVAL,) if number > 1 else (RETRIEVAL, STRUCTURE, RADIUS, COLLAPSE)
        for group in groups:
            metrics |= {f'{method}/{m.key}': 0.1 * number + 0.005 for m in group}
    metrics['refined/retrieval/hit_at_1'] = 0.875
    return Evaluation(
        edition='2022',
        codes=2125,
        candidates=1012,
        queries=4072,
        held_out=4072,
        metrics=metrics,
        stages=(
            Run(
                'stage_1_easy',
                {1: 0.875, 2: 0.125},
                {1: 0.9, 2: 0.1},
                ({'train/loss': 1.0},),
                600.0,
                'python -m naics_model.training fit --curriculum 01_stage_easy',
                'cpu',
            ),
            Run('stage_2_medium', {1: 0.5, 2: 0, 8: 0.5}, {1: 0.75, 8: 0.25}, (), 60, None, 'cpu'),
        ),
        refinement=Run('refinement', None, None, (), 61.0, None, None),
        inputs=(('data/2022/corpus/activities.parquet', 'ab' * 32),),
        command='python -m naics_model.evaluation --out data/2022/evaluation',
        software={'torch': '2.13.0'},
    )


def tables(evaluation: Evaluation) -> dict[str, Table]:
    """The tables by their first row's label and corner."""
    document = build_report(evaluation, PICTURES)
    return {
        section.title if block.corner in ('Measure', 'Job') else block.corner: block
        for section in document.sections
        for block in section.blocks
        if isinstance(block, Table)
    }


def test_report_has_every_table(evaluation):
    found = tables(evaluation)
    assert list(found) == [
        'Summary',
        'Search by words',
        'Structure',
        'From the general to the specific',
        'Has it collapsed?',
        'Training',
        'stage_1_easy (%)',
        'stage_2_medium (%)',
    ]
    assert found['Summary'].columns == ('Text', 'Refined', 'TF-IDF', 'Zero-shot')
    assert len(found['Summary'].rows) == len(SUMMARY)
    assert [row.label for row in found['Training'].rows] == [
        'stage_1_easy',
        'stage_2_medium',
        'refinement',
    ]


def test_summary_marks_the_best_and_leaves_structure_of_baselines_open(evaluation):
    rows = {row.label: row.cells() for row in tables(evaluation)['Summary'].rows}
    assert rows['Hit@1 ↑'] == [
        ('0.005', False),
        ('0.875', True),
        ('0.205', False),
        ('0.305', False),
    ]
    assert rows['Average distortion ↓'] == [
        ('0.005', True),
        ('0.105', False),
        ('–', False),
        ('–', False),
    ]


def test_curriculum_mix_is_shown_requested_against_effective(evaluation):
    rows = tables(evaluation)['stage_2_medium (%)'].rows
    assert [(row.label, [text for text, _ in row.cells()]) for row in rows] == [
        (f'1: {HARDNESS[1]}', ['50.0', '75.0', '+25.0']),
        (f'8: {HARDNESS[8]}', ['50.0', '25.0', '-25.0']),
    ]


def test_lead_says_whether_the_baselines_are_beaten(evaluation):
    assert '87.5 % of cases' in build_report(evaluation, PICTURES).lead[0]
    assert (
        'the refined embeddings beat both baselines' in build_report(evaluation, PICTURES).lead[0]
    )
    worse = {**evaluation.metrics, 'refined/retrieval/hit_at_1': 0.205}
    lead = build_report(dataclasses.replace(evaluation, metrics=worse), PICTURES).lead[0]
    assert 'does not beat the better baseline, Zero-shot' in lead


def test_caveats_name_memory_smoke_and_samples(evaluation):
    plain = to_markdown(build_report(evaluation, PICTURES))
    assert 'memorised without reading a word' in plain
    assert 'trained for 12 min in all' in plain
    assert 'Only' not in plain
    smoke = dataclasses.replace(
        evaluation,
        queries=100,
        stages=tuple(dataclasses.replace(run, profile='smoke') for run in evaluation.stages),
    )
    text = to_markdown(build_report(smoke, PICTURES))
    assert 'trained with the “smoke” profile (stage_1_easy, stage_2_medium)' in text
    assert 'Only 100 of the 4,072 held-out activities' in text


def test_commands_and_versions_are_exact(evaluation):
    section = build_report(evaluation, PICTURES).sections[-1]
    code = '\n'.join(block.text for block in section.blocks if isinstance(block, Code))
    assert 'python -m naics_model.training fit --curriculum 01_stage_easy' in code
    assert evaluation.command in code
    assert f'data/2022/corpus/activities.parquet\n    {"ab" * 32}' in code


def test_loss_picture_is_in_the_report_only_if_there_is_one(evaluation):
    without = build_report(evaluation, PICTURES)
    assert [figure.name for figure in without.figures] == list(PICTURES)
    with_losses = build_report(evaluation, {**PICTURES, 'losses.png': b'losses'})
    assert [figure.name for figure in with_losses.figures] == [*PICTURES, 'losses.png']
    assert to_html(with_losses).count('data:image/png') == 4


def test_report_without_training_results_says_so(evaluation):
    alone = dataclasses.replace(evaluation, stages=(), refinement=None)
    assert 'No results of training jobs were given' in to_markdown(build_report(alone, PICTURES))


def test_every_figure_that_is_computed_is_explained(bushy):
    distance = tree_distances(bushy) * 1.0
    tangent = np.random.default_rng(0).normal(size=(len(bushy), 4))
    leaves = np.flatnonzero(bushy.levels == 6)
    codes = [bushy.codes[i] for i in leaves]
    computed = {
        'structure': structure_metrics(distance, bushy, bushy.codes),
        'radius': radius_metrics(np.linalg.norm(tangent, axis=1), bushy),
        'collapse': collapse_metrics(distance, tangent),
        'retrieval': retrieval_metrics(distance[np.ix_(leaves[:9], leaves)], np.arange(9), codes),
    }
    keys = {f'{group}/{name}' for group, figures in computed.items() for name in figures}
    assert keys == {m.key for m in (*STRUCTURE, *RADIUS, *COLLAPSE, *RETRIEVAL)}


# --- results of jobs ---


def test_run_is_read_from_its_result(tmp_path):
    path = tmp_path / 'stage_2_medium' / 'result.json'
    path.parent.mkdir()
    details = {
        'curriculum_mix': {'requested': {'1': 0.5}, 'effective': {'1': 0.75}},
        'history': [{'train/loss': 2.0}],
    }
    path.write_text(json.dumps({'metrics': {}, 'details': details, 'seconds': 12.5}))
    assert read_run(path) == Run(
        'stage_2_medium', {1: 0.5}, {1: 0.75}, ({'train/loss': 2.0},), 12.5, None, None
    )


def test_what_a_job_did_not_record_is_left_out(tmp_path):
    path = tmp_path / 'result.json'
    path.write_text(json.dumps({'details': {}}))
    assert read_run(path) == Run(tmp_path.name, None, None, (), 0.0, None, None)


@pytest.mark.parametrize('content', ['[]', '{"metrics": {}}', '{"details": 3}'])
def test_file_that_is_no_result_is_refused(tmp_path, content):
    path = tmp_path / 'result.json'
    path.write_text(content)
    with pytest.raises(DataError, match='not the result of a job'):
        read_run(path)
