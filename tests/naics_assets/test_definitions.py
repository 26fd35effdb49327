"""The graph as people see it: which assets there are, in which groups, made from what."""

from __future__ import annotations

import dagster as dg
import pytest

from naics_assets.definitions import defs
from naics_assets.lib.asset import EDITIONS
from naics_model.corpus.editions import load_editions
from naics_model.dataset.checks import CHECKED
from naics_model.protocols.protocol import PROTOCOLS

GRAPH = {
    'source': {
        'codes_workbook': set(),
        'descriptions_workbook': set(),
        'index_workbook': set(),
        'cross_references_workbook': set(),
        'concordance_workbook': set(),
    },
    'corpus': {
        'descriptions': {'codes_workbook', 'descriptions_workbook', 'cross_references_workbook'},
        'activities': {'index_workbook', 'descriptions'},
        'phrases': {'descriptions', 'activities'},
        'code_splits': {'descriptions'},
        'concordance': {'concordance_workbook', 'descriptions'},
    },
    'taxonomy': {'distances': {'descriptions'}, 'relations': {'descriptions'}},
    'triplets': {
        'triplets': {'descriptions', 'distances'},
        'relation_index': {'descriptions', 'distances'},
    },
    'tokens': {'token_cache': {'descriptions'}},
    'training': {
        'stage_1_easy': {'relation_index', 'token_cache', 'phrases'},
        'stage_2_medium': {'relation_index', 'token_cache', 'phrases', 'stage_1_easy'},
        'stage_3_hard': {'relation_index', 'token_cache', 'phrases', 'stage_2_medium'},
        'text_embeddings': {'stage_3_hard', 'token_cache', 'descriptions'},
    },
    'refinement': {
        'refined_embeddings': {'text_embeddings', 'stage_3_hard', 'descriptions', 'phrases'}
    },
    'evaluation': {
        'baselines': {'descriptions', 'activities', 'code_splits'},
        'text_evaluation': {'text_embeddings', 'descriptions', 'activities', 'phrases'},
        'refined_evaluation': {
            'refined_embeddings',
            'text_evaluation',
            'descriptions',
            'activities',
            'phrases',
        },
        'evaluation_report': {
            'stage_1_easy',
            'stage_2_medium',
            'stage_3_hard',
            'baselines',
            'text_evaluation',
            'refined_evaluation',
        },
        'bi_encoder': {'descriptions', 'activities'},
    },
    'release': {
        'model_bundle': {
            'stage_3_hard',
            'text_embeddings',
            'refined_embeddings',
            'text_evaluation',
            'refined_evaluation',
        }
    },
    'benchmark': {
        f'benchmark_{protocol}': {
            'descriptions',
            'activities',
            'code_splits',
            *(['concordance'] if protocol == 'editions' else []),
        }
        for protocol in PROTOCOLS
    },
    'ablation': {'curriculum_ablation': {'descriptions', 'activities', 'code_splits'}},
}


@pytest.fixture(scope='module')
def graph() -> dg.Definitions:
    return defs()


def test_the_code_location_loads(graph: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(graph)


def test_assets_their_groups_and_what_they_are_made_from(graph: dg.Definitions) -> None:
    found: dict[str, dict[str, set[str]]] = {}
    for spec in graph.resolve_all_asset_specs():
        upstream = {dep.asset_key.to_user_string() for dep in spec.deps}
        found.setdefault(spec.group_name or '', {})[spec.key.to_user_string()] = upstream
    assert found == GRAPH


def test_everything_for_an_edition_is_all_but_what_is_opt_in(graph: dg.Definitions) -> None:
    everything = {spec.key for spec in graph.resolve_all_asset_specs()}
    bi_encoder = {dg.AssetKey('bi_encoder')}
    benchmark = {dg.AssetKey(f'benchmark_{protocol}') for protocol in PROTOCOLS}
    ablation = {dg.AssetKey('curriculum_ablation')}
    assert selected(graph, 'full_edition') == everything - bi_encoder - benchmark - ablation
    assert selected(graph, 'ablation') == ablation
    assert selected(graph, 'bi_encoder_baseline') == bi_encoder
    assert selected(graph, 'benchmark') == benchmark


def selected(graph: dg.Definitions, job: str) -> set[dg.AssetKey]:
    return set(graph.resolve_job_def(job).asset_layer.executable_asset_keys)


def test_every_asset_is_described_versioned_owned_and_partitioned(graph: dg.Definitions) -> None:
    for spec in graph.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.code_version, spec.key
        assert spec.owners, spec.key
        assert spec.kinds, spec.key
        assert spec.partitions_def == EDITIONS, spec.key


def test_partitions_are_the_known_editions() -> None:
    assert EDITIONS.get_partition_keys() == list(load_editions())


def test_what_everything_follows_from_is_checked_first(graph: dg.Definitions) -> None:
    asset_graph = graph.resolve_asset_graph()
    blocking: dict[str, set[str]] = {}
    for key in asset_graph.asset_check_keys:
        spec = asset_graph.get_check_spec(key)
        assert spec.description, key
        if spec.blocking:
            blocking.setdefault(key.asset_key.to_user_string(), set()).add(key.name)
    assert blocking == {
        **{
            asset: {check.name for check in checked.known() if check.blocking}
            for asset, checked in CHECKED.items()
        },
        'refined_evaluation': {'gate'},
    }
    assert {'counts_per_level', 'codes_unique', 'no_empty_text'} <= blocking['descriptions']
    assert blocking['relation_index'] == {'same_counts', 'sampled_items_are_rows'}
