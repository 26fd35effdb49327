"""The gate and the release in the graph: a warning and the text embeddings, or an error."""

from pathlib import Path

import dagster as dg
import pytest
import requests
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from naics_assets.definitions import defs
from naics_assets.lib.mlflow_registry import MODEL, Release, register
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_model.storage.files import read_json
from naics_model.storage.layout import EditionFolder
from tests.naics_model.release.test_bundle import folder, measured

__all__ = ['folder']

GATE = dg.AssetCheckKey(dg.AssetKey('refined_evaluation'), 'gate')


@pytest.fixture(autouse=True)
def own_tracker(tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('MLFLOW_TRACKING_URI', tracker.tracking_uri)


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
    assert (
        made.metadata['registered'].value == f'{MODEL} version 1 registered; it is edition-sample.'
    )


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


def test_an_alias_leads_to_the_best_of_an_edition_and_of_the_newest(
    tracker: MlflowTracker, tmp_path: Path
) -> None:
    files = tmp_path / 'files'
    (files / 'encoder').mkdir(parents=True)
    (files / 'encoder' / 'config.json').write_text('{}')
    said: list[str] = []

    @dg.asset(partitions_def=dg.StaticPartitionsDefinition(['any']))
    def releases(context: dg.AssetExecutionContext, mlflow: MlflowTracker) -> None:
        with mlflow.job_run(context) as run:
            for edition, content, score in (
                ('sample', 'a', 0.9),
                ('2017', 'b', 0.6),
                ('2022', 'c', 0.5),
                ('2022', 'd', 0.4),
                ('2022', 'e', 0.7),
                ('2022', 'c', 0.5),
                ('2017', 'f', 0.8),
            ):
                registered = register(run.require(), Release(files, edition, content, score, {}))
                said.append(registered.sentence.removeprefix(f'{MODEL} version '))

    assert dg.materialize([releases], partition_key='any', resources={'mlflow': tracker}).success
    assert said == [
        '1 registered; it is edition-sample.',
        '2 registered; it is champion, edition-2017.',
        '3 registered; it is champion, edition-2022.',
        '4 registered; a better one is there.',
        '5 registered; it is champion, edition-2022.',
        '3 was registered before; a better one is there.',
        '6 registered; it is edition-2017.',
    ]
    client = MlflowClient(tracker.tracking_uri)
    champion = client.get_model_version_by_alias(MODEL, 'champion')
    assert champion.tags['naics/score'] == '0.7'
    uri = f'models:/{MODEL}@champion'
    taken = download_artifacts(uri, dst_path=str(tmp_path), tracking_uri=tracker.tracking_uri)
    assert (Path(taken) / 'encoder' / 'config.json').is_file()


@pytest.mark.parametrize(
    ('error', 'said'),
    [
        (MlflowException('the disk is full'), 'the disk is full.'),
        # A proxy before the server; MLflow lets what requests raises through.
        (
            requests.HTTPError('413 Too Large for url: http://me:s3cret@h/files'),
            '413 Too Large for url: http://h/files.',
        ),
    ],
)
def test_a_registry_that_refuses_is_told_and_the_files_stay(
    folder: EditionFolder, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(MlflowClient, 'create_model_version', refuse)
    result = run(folder, monkeypatch, {})
    assert not result.success
    failure = result.failure_data_for_node('model_bundle')
    assert failure is not None
    assert f'but MLflow did not register it: {said}' in str(failure.error)
    assert 's3cret' not in str(failure.error)
    assert (folder.release / 'release.json').is_file()
