"""The gate and the release in the graph: a warning and the text embeddings, or an error."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from naics_assets.definitions import defs
from naics_model.storage.files import read_json
from naics_model.storage.layout import EditionFolder
from tests.naics_model.release.test_bundle import folder, measured

__all__ = ['folder']

GATE = dg.AssetCheckKey(dg.AssetKey('refined_evaluation'), 'gate')


def run(
    folder: EditionFolder, monkeypatch: pytest.MonkeyPatch, thresholds: dict[str, float]
) -> dg.ExecuteInProcessResult:
    monkeypatch.setenv('NAICS_DATA_DIR', str(folder.root))
    graph = defs()
    job = dg.define_asset_job(
        'release',
        selection=dg.AssetSelection.assets('model_bundle') | dg.AssetSelection.checks(GATE),
    ).resolve(asset_graph=graph.resolve_asset_graph())
    return job.execute_in_process(
        resources=graph.resources,
        partition_key=folder.edition,
        raise_on_error=False,
        run_config={'resources': {'release_gate': {'config': thresholds}}},
    )


def test_what_passes_is_released(folder: EditionFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(folder, monkeypatch, {})
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    (made,) = result.asset_materializations_for_node('model_bundle')
    assert made.metadata['released'].value == 'refined embeddings'


def test_what_fails_is_a_warning_and_the_text_embeddings_are_released(
    folder: EditionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(folder, 'refined', **{'structure/edge_map': 0.9})
    result = run(folder, monkeypatch, {})
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert check.description == 'edge mAP 0.900'
    (made,) = result.asset_materializations_for_node('model_bundle')
    assert made.metadata['released'].value == 'text embeddings'
    assert 'edge mAP 0.900' in str(made.metadata['why'].value)
    assert read_json(folder.release / 'release.json')['embeddings'] == 'text'


def test_thresholds_are_configuration(
    folder: EditionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured(folder, 'refined', **{'structure/edge_map': 0.9})
    result = run(folder, monkeypatch, {'edge_map': 0.85})
    assert result.success
    assert read_json(folder.release / 'release.json')['embeddings'] == 'refined'
    assert read_json(folder.release / 'release.json')['thresholds']['edge_map'] == 0.85


def test_what_can_not_be_judged_releases_nothing(
    folder: EditionFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(folder.evaluated('refined')).unlink()
    result = run(folder, monkeypatch, {})
    assert not result.success
    assert not folder.release.exists()
