"""What the report says, from made-up results."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from naics_model.errors import DataError
from naics_model.evaluation.asking import grouped
from naics_model.evaluation.document import Code, Paragraph, Table, to_html, to_markdown
from naics_model.evaluation.exclusions import exclusion_metrics
from naics_model.evaluation.guide import SUMMARY, SUMMARY_OF, overview
from naics_model.evaluation.guide_search import (
    COLD,
    COLD_UNQUOTED,
    EDITIONS,
    EXCLUSIONS,
    PLACEMENT,
    RETRIEVAL,
    WARM,
    WARM_HARD,
)
from naics_model.evaluation.guide_space import COLLAPSE, RADIUS, STRUCTURE
from naics_model.evaluation.methods import METHODS
from naics_model.evaluation.metric import in_group
from naics_model.evaluation.placement import placement_metrics
from naics_model.evaluation.radius import collapse_metrics, radius_metrics
from naics_model.evaluation.report import build_report
from naics_model.evaluation.report_ablation import ablation_blocks
from naics_model.evaluation.report_parts import Evaluation
from naics_model.evaluation.retrieval import hard_metrics, retrieval_metrics
from naics_model.evaluation.runs import Run, read_run
from naics_model.evaluation.structure import structure_metrics
from naics_model.evaluation.succession import succession_metrics
from naics_model.taxonomy.distances import tree_distances
from naics_model.triplets.hardness import HARDNESS

PICTURES = {
    f'{name}.png': name.encode()
    for name in ('reliability', 'sectors', 'distances', 'radius', 'disk')
}
# What each method of a full graph has figures of.
MEASURED = {
    **dict.fromkeys(
        ('text', 'refined'), (WARM, WARM_HARD, STRUCTURE, RADIUS, COLLAPSE, EXCLUSIONS)
    ),
    **dict.fromkeys(('text_flat', 'text_nearest', 'refined_nearest'), (WARM, WARM_HARD)),
    **dict.fromkeys(('lexical', 'zero_shot_nearest'), (WARM[:-1], WARM_HARD)),
    **dict.fromkeys(
        ('bm25', 'tfidf', 'zero_shot'),
        (
            COLD,
            COLD_UNQUOTED,
            WARM[:-1],
            WARM_HARD,
            EXCLUSIONS,
            in_group('heldout_codes', PLACEMENT),
            in_group('heldout_folds', PLACEMENT),
        ),
    ),
    **dict.fromkeys(('lorentz_fit', 'euclid_fit'), (STRUCTURE,)),
}


@pytest.fixture
def evaluation() -> Evaluation:
    metrics = {
        f'{method}/{metric.key}': 0.01 * number + 0.005
        for number, (method, groups) in enumerate(MEASURED.items())
        for group in groups
        for metric in group
    }
    metrics |= {'edition/spearman_ceiling': 0.977, 'refined_nearest/warm/hit_at_1': 0.875}
    return Evaluation(
        edition='2022',
        codes=2125,
        candidates=1012,
        entries=20373,
        held_out=4066,
        metrics=metrics,
        said={},
        left_out=(),
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
        ablation=None,
        inputs=(('data/2022/corpus/activities.parquet', 'ab' * 32),),
        commands=(('this report', 'python -m naics_model.evaluation report --edition 2022'),),
        software={'torch': '2.13.0'},
    )


def tables(evaluation: Evaluation) -> dict[str, list[Table]]:
    """The tables of each section."""
    return {
        section.title: [block for block in section.blocks if isinstance(block, Table)]
        for section in build_report(evaluation, PICTURES).sections
    }


def test_each_section_has_its_tables_and_each_table_its_methods(evaluation):
    found = {
        title: [table.columns for table in there]
        for title, there in tables(evaluation).items()
        if title != 'Training'
    }
    labels = {name: method.label for name, method in METHODS.items()}
    warm = tuple(labels[name] for name in METHODS if WARM_HARD in MEASURED.get(name, ()))
    own, cold = ('Text', 'Refined'), ('BM25', 'TF-IDF', 'Zero-shot')
    assert found == {
        'Summary': [tuple(labels[name] for name in SUMMARY_OF)],
        'Read with care': [],
        'Search by words': [warm, warm],
        'Search with nothing known': [cold, cold],
        'Codes never seen': [cold] * 2,
        'New codes of this edition': [],
        'What a code excludes': [(*own, *cold)],
        'Structure': [(*own, 'Lorentz, no text', 'Euclid, no text')],
        'From the general to the specific': [own],
        'Has it collapsed?': [own],
        'Commands and versions': [],
    }
    assert len(tables(evaluation)['Summary'][0].rows) == len(SUMMARY)


def test_the_best_of_a_row_stands_out_and_what_does_not_apply_is_open(evaluation):
    rows = {row.label: row.cells() for row in tables(evaluation)['Summary'][0].rows}
    assert [text for text, best in rows['Hit@1\u00a0↑'] if best] == ['0.875']
    assert rows['Average distortion\u00a0↓'][0] == ('0.005', True)
    assert rows['Average distortion\u00a0↓'][1] == ('–', False)


def test_curriculum_mix_is_shown_requested_against_effective(evaluation):
    [_, _, mix] = tables(evaluation)['Training']
    assert [(row.label, [text for text, _ in row.cells()]) for row in mix.rows] == [
        (f'1: {HARDNESS[1]}', ['50.0', '75.0', '+25.0']),
        (f'8: {HARDNESS[8]}', ['50.0', '25.0', '-25.0']),
    ]


def test_the_lead_says_whether_the_best_baseline_is_beaten(evaluation):
    lead = build_report(evaluation, PICTURES).lead[0]
    assert '87.5 %' in lead
    assert 'the model at its best (Refined, known)' in lead
    assert 'The best baseline (Zero-shot) does so in' in lead
    assert 'the model beats it' in lead
    worse = {**evaluation.metrics, 'refined_nearest/warm/hit_at_1': 0.001}
    worse |= {'bi_encoder/warm/hit_at_1': 0.9, 'euclidean/warm/hit_at_1': 0.95}
    lead = build_report(dataclasses.replace(evaluation, metrics=worse), PICTURES).lead[0]
    assert 'The best baseline (Bi-encoder) does so in 90.0 %' in lead
    assert 'the model does not beat it' in lead


def test_the_lead_sets_the_model_beside_its_control_where_both_were_trained(evaluation):
    both = {'lorentz/warm/hit_at_1': 0.159, 'euclidean/warm/hit_at_1': 0.312}
    with_both = dataclasses.replace(evaluation, metrics={**evaluation.metrics, **both})
    lead = build_report(with_both, PICTURES).lead[-1]
    assert '15.9 % of cases in hyperbolic space and in 31.2 % in flat space' in lead
    assert len(build_report(evaluation, PICTURES).lead) == 2


def test_caveats_name_memory_and_the_smoke_profile(evaluation):
    plain = to_markdown(build_report(evaluation, PICTURES))
    assert 'memorised without reading a word' in plain
    assert 'trained for 12 min in all' in plain
    smoke = dataclasses.replace(
        evaluation,
        stages=tuple(dataclasses.replace(run, profile='smoke') for run in evaluation.stages),
    )
    text = to_markdown(build_report(smoke, PICTURES))
    assert 'trained with the “smoke” profile (stage_1_easy, stage_2_medium)' in text


def test_what_was_not_benchmarked_says_how_to_do_it(evaluation):
    text = to_markdown(build_report(evaluation, PICTURES))
    for protocol in ('cold', 'heldout_codes', 'heldout_folds', 'heldout_subtrees'):
        assert f'python -m naics_model.benchmark --edition 2022 --protocol {protocol}' in text
    done = dataclasses.replace(
        evaluation,
        said={'cold': 'Trained for this.'},
        metrics={**evaluation.metrics, **{f'euclidean/{m.key}': 0.5 for m in COLD}},
    )
    text = to_markdown(build_report(done, PICTURES))
    assert 'Trained for this.' in text
    assert '--protocol cold' not in text
    assert 'Euclidean' in tables(done)['Search with nothing known'][0].columns


def test_new_codes_are_told_of_only_where_there_are_some(evaluation):
    assert 'that one is not on disk' in to_markdown(build_report(evaluation, PICTURES))
    with_new = {**evaluation.metrics, **{f'bm25/{metric.key}': 0.5 for metric in EDITIONS}}
    found = tables(dataclasses.replace(evaluation, metrics=with_new))
    assert len(found['New codes of this edition'][0].rows) == len(EDITIONS)


def test_the_overview_has_what_there_is(evaluation):
    frame = overview(evaluation.metrics)
    assert frame.columns[:3] == ['measure', 'Text', 'Text, flat']
    assert frame.filter(measure='Hit@1')['Refined, known'].item() == 0.875
    only = overview({'bm25/cold/mrr': 0.5})
    assert only.to_dicts() == [{'measure': 'MRR (cold)', 'BM25': 0.5}]
    assert overview({'bm25/editions/mrr': 0.5})['measure'].to_list() == ['MRR']
    assert 'Codes asked' in overview({'bm25/heldout_codes/asked': 9})['measure'].to_list()


def test_commands_and_versions_are_exact(evaluation):
    section = build_report(evaluation, PICTURES).sections[-1]
    code = '\n'.join(block.text for block in section.blocks if isinstance(block, Code))
    assert 'python -m naics_model.training fit --curriculum 01_stage_easy' in code
    assert '# this report\npython -m naics_model.evaluation report' in code
    assert f'data/2022/corpus/activities.parquet\n    {"ab" * 32}' in code


def test_pictures_of_training_are_in_the_report_only_if_there_are_some(evaluation):
    without = build_report(evaluation, PICTURES)
    assert [figure.name for figure in without.figures] == list(PICTURES)
    more = {'losses.png': b'losses', 'negatives.png': b'negatives'}
    with_both = build_report(evaluation, {**PICTURES, **more})
    assert [figure.name for figure in with_both.figures] == [*PICTURES, *more]
    assert to_html(with_both).count('data:image/png') == len(PICTURES) + 2


def test_report_without_training_results_says_so(evaluation):
    alone = dataclasses.replace(evaluation, stages=(), refinement=None)
    assert 'No results of training jobs were given' in to_markdown(build_report(alone, PICTURES))


def test_every_figure_that_is_computed_is_explained(bushy):
    distance = tree_distances(bushy) * 1.0
    tangent = np.random.default_rng(0).normal(size=(len(bushy), 4))
    leaves = np.flatnonzero(bushy.levels == 6)
    codes = [bushy.codes[i] for i in leaves]
    search = distance[np.ix_(leaves[:9], leaves)]
    found = retrieval_metrics(search, np.arange(9), codes)
    titles = ['same'] * 100 + [f'title {i}' for i in range(len(bushy) - 100)]
    computed = {
        'structure': structure_metrics(distance, bushy, bushy.codes),
        'radius': radius_metrics(np.linalg.norm(tangent, axis=1), bushy),
        'collapse': collapse_metrics(distance, tangent),
        'retrieval': found,
        'cold': found,
        'cold_unquoted': found,
        'warm': {**found, 'calibration_error': 0.0},
        'warm_hard': hard_metrics(search, np.arange(9), codes, np.ones(9, bool)),
        'exclusions': exclusion_metrics(np.ones(2), np.ones(2), np.arange(2)),
        'placement': placement_metrics(distance, bushy, titles, np.ones(len(bushy), bool)),
        'editions': succession_metrics(np.ones((1, 1)), {'1': ['2']}, ['2']),
    }
    explained = (
        *STRUCTURE,
        *RADIUS,
        *COLLAPSE,
        *RETRIEVAL,
        *COLD,
        *COLD_UNQUOTED,
        *WARM,
        *WARM_HARD,
        *EXCLUSIONS,
        *PLACEMENT,
        *EDITIONS,
    )
    keys = {key for group, figures in computed.items() for key in grouped(group, figures)}
    # Of a part of the questions, of trivial edges and of lower hits the first figures are enough.
    left_out = {'placement/trivial_asked', 'placement/trivial_parent_mrr'}
    left_out.add('placement/all_levels_parent_hit_at_5')
    left_out |= {
        f'{group}/{name}' for group in ('cold_unquoted', 'warm_hard') for name in list(found)[4:]
    }
    assert keys - left_out == {metric.key for metric in explained}


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


def ablation(seeds: list[int]) -> dict[str, Any]:
    spread = {'spread': 0.01} if len(seeds) > 1 else {}
    gain = {'gain_spread': 0.004} if len(seeds) > 1 else {}
    return {
        'seeds': seeds,
        'curriculum': '03_stage_hard',
        'max_tokens': 32,
        'profile': 'profiles/cpu.yaml',
        'set_aside': 2938,
        'rows': [
            {
                'variant': 'sadc',
                'label': 'SADC',
                'against': None,
                'figures': {'warm/mrr': {'mean': 0.6, **spread}, 'warm/seconds': {'mean': 100.0}},
            },
            {
                'variant': 'uniform',
                'label': 'uniform',
                'against': 'SADC',
                'figures': {'warm/mrr': {'mean': 0.5, **spread, 'gain': -0.1, **gain}},
            },
        ],
    }


def test_the_ablation_is_a_section_where_there_is_one(evaluation):
    title = 'What the dynamic curriculum does'
    assert title not in tables(evaluation)
    found = tables(dataclasses.replace(evaluation, ablation=ablation([0, 1])))[title]
    means, gains, seen = found
    column = means.columns.index('search: MRR')
    assert [(row.label, row.values[column]) for row in means.rows] == [
        ('SADC', '0.600 ± 0.010'),
        ('uniform', '0.500 ± 0.010'),
    ]
    # SADC has nothing to gain on itself.
    assert gains.corner == 'Gain on “SADC”'
    assert [(row.label, row.values[column]) for row in gains.rows] == [
        ('uniform', '-0.100 ± 0.004')
    ]
    assert [row.values[seen.columns.index('seconds')] for row in seen.rows] == ['100', None]


def test_an_ablation_of_one_seed_says_that_no_spread_is_known():
    blocks = ablation_blocks(ablation([0]))
    assert any(
        'no spread is known' in block.text for block in blocks if isinstance(block, Paragraph)
    )
    (means, gains, _) = (block for block in blocks if isinstance(block, Table))
    assert means.rows[1].values[1] == '0.500'
    assert gains.rows[0].values[1] == '-0.100'
