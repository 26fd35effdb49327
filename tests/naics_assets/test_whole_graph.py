"""The whole graph on the bundled edition, with the real encoder and real job processes."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from naics_assets.definitions import defs
from naics_assets.materialize import JOB
from naics_model.storage.files import read_json
from naics_model.storage.layout import EditionFolder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
JOBS = (
    'stage_1_easy',
    'stage_2_medium',
    'stage_3_hard',
    'text_embeddings',
    'refined_embeddings',
    'baselines',
    'text_evaluation',
    'refined_evaluation',
    'evaluation_report',
    'model_bundle',
)


class Finished:
    """What one run of the graph left behind."""

    def __init__(self, home: Path, said: str) -> None:
        self.data = home / 'data'
        self.folder = EditionFolder(self.data, 'sample')
        self.tracking_uri = f'sqlite:///{self.data / "mlflow.db"}'
        self.said = said

    def mlflow_runs(self) -> list[Run]:
        client = MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name('naics')
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id]))


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    home = tmp_path_factory.mktemp('home')
    (home / 'dagster_home').mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DAGSTER_HOME', str(home / 'dagster_home'))
        patch.setenv('NAICS_DATA_DIR', str(home / 'data'))
        patch.setenv('MLFLOW_TRACKING_URI', f'sqlite:///{home / "data" / "mlflow.db"}')
        # The command of `make demo`, in a process of its own, as a person starts it.
        command = [sys.executable, '-m', 'naics_assets.materialize']
        done = subprocess.run(
            [*command, '--edition', 'sample', '--profile', 'smoke'],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield Finished(home, done.stdout)


def test_every_asset_is_materialised(finished: Finished) -> None:
    with dg.DagsterInstance.get() as instance:
        [run] = instance.get_runs()
        assert run.job_name == JOB
        assert run.status == dg.DagsterRunStatus.SUCCESS
        for key in defs().resolve_job_def(JOB).asset_layer.executable_asset_keys:
            assert instance.get_materialized_partitions(key) == {'sample'}, key


def test_each_job_has_an_mlflow_run_under_that_of_the_graph(finished: Finished) -> None:
    runs = finished.mlflow_runs()
    assert {run.info.status for run in runs} == {'FINISHED'}
    [pipeline] = [run for run in runs if run.data.tags.get('naics/role') == 'pipeline']
    jobs = {run.data.tags['dagster/asset']: run for run in runs if run is not pipeline}
    assert set(jobs) == set(JOBS)
    for job in jobs.values():
        assert job.data.tags['mlflow.parentRunId'] == pipeline.info.run_id
    assert 'train/loss' in jobs['stage_3_hard'].data.metrics
    made_from = jobs['stage_3_hard'].inputs.dataset_inputs
    assert 'stage_2_medium · sample' in {entry.dataset.name for entry in made_from}
    assert pipeline.data.metrics['refined/structure/spearman'] > 0.9
    assert pipeline.data.metrics['all/spearman refined'] > 0.9
    assert pipeline.data.params == {'profile': 'smoke'}


def test_the_person_sees_progress_figures_and_where_to_look(finished: Finished) -> None:
    # The last step is counted as the last: 25 of 25.
    assert re.search(r'\b(\d+)/\1\b', finished.said)
    for text in ('epoch 2: train/loss', 'Spearman, all pairs', 'make dev'):
        assert text in finished.said
    assert str(finished.folder.evaluation / 'evaluation_report.html') in finished.said
    assert 'Traceback' not in finished.said


def test_the_report_names_the_commands_of_the_run(finished: Finished) -> None:
    report = (finished.folder.evaluation / 'evaluation_report.md').read_text()
    for curriculum in ('01_stage_easy', '02_stage_medium', '03_stage_hard'):
        assert f'--curriculum {curriculum}' in report
    assert 'trained with the “smoke” profile' in report


def test_embeddings_hold_every_code_once_and_are_not_collapsed(finished: Finished) -> None:
    codes = pl.read_parquet(finished.folder.descriptions)['code']
    metrics = read_json(finished.folder.evaluation / 'result.json')['metrics']
    for name, path in (
        ('text', finished.folder.text_embeddings),
        ('refined', finished.folder.refined_embeddings),
    ):
        table = pl.read_parquet(path)
        assert table['code'].to_list() == codes.to_list()
        assert table['radius'].is_finite().all()
        assert metrics[f'{name}/collapse/collapsed'] == 0


def test_what_is_released_is_what_passed_the_gate(finished: Finished) -> None:
    folder = finished.folder
    record = read_json(folder.release / 'release.json')
    passed = all(verdict['passed'] for verdict in record['verdicts'])
    assert record['embeddings'] == ('refined' if passed else 'text')
    assert record['why'] in finished.said.replace('\n', ' ')
    released = (folder.release / 'embeddings.parquet').read_bytes()
    assert released == folder.file(f'{record["embeddings"]}_embeddings').read_bytes()
    with dg.DagsterInstance.get() as instance:
        gate = dg.AssetCheckKey(dg.AssetKey('refined_evaluation'), 'gate')
        [check] = instance.event_log_storage.get_asset_check_execution_history(gate, limit=1)
        assert check.event is not None
        assert check.event.dagster_event.asset_check_evaluation_data.passed is passed


def test_the_quickstarts_code_runs(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / 'docs' / 'quickstart.md').read_text()
    blocks = re.findall(r'```python\n(.*?)```', text, flags=re.DOTALL)
    assert len(blocks) == 2
    monkeypatch.chdir(finished.data.parent)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names['answer'], str)
