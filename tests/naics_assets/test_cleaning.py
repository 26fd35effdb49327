"""What `naics clean` and the job `cleaning` take away, and what they never touch."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pytest
from mlflow import MlflowClient
from mlflow.entities import LoggedModelStatus, ViewType

from naics_assets.cli import main
from naics_assets.definitions import defs
from naics_assets.defs.automation.cleaning import cleaning as cleaning_job
from naics_assets.lib.mlflow_tracker import MlflowTracker
from naics_assets.lib.paths import NaicsPaths
from naics_assets.upkeep import dagster_runs, mlflow_runs
from naics_assets.upkeep.cleaning import Plan, plan
from naics_assets.upkeep.dagster_runs import PastRun, to_delete
from naics_assets.upkeep.mlflow_runs import Registered, TrackedRun
from naics_model.errors import NaicsError

EDITION = dg.StaticPartitionsDefinition(['sample', '2022'])
LATER = time.time() + 3600


class Version(dg.Config):
    fails: bool = False


@dg.asset(partitions_def=EDITION, code_version='1')
def texts() -> None: ...


@dg.asset(partitions_def=EDITION, deps=[texts], code_version='1')
def model(context: dg.AssetExecutionContext, config: Version, mlflow: MlflowTracker) -> None:
    with mlflow.job_run(context) as run:
        run.log_outcome({'loss': 0.5})
        if config.fails:
            raise dg.Failure('the job broke')


@dg.asset_check(asset=model, partitions_def=EDITION)
def good() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dataclass
class History:
    """An installation that has run for a while.

    Attributes:
        runs: the ids of its Dagster runs, by what they are for this test.
        middle: a time after `replaced` and before all others.
    """

    instance: dg.DagsterInstance
    tracker: MlflowTracker
    data_dir: Path
    runs: dict[str, str] = field(default_factory=dict)
    middle: float = 0.0

    def run(
        self, name: str, assets: Sequence[object], partition: str = 'sample', **options: object
    ) -> None:
        done = dg.materialize(
            assets,
            instance=self.instance,
            partition_key=partition,
            resources={'mlflow': self.tracker},
            raise_on_error=False,
            **options,
        )
        self.runs[name] = done.run_id

    def plan(self, before: float = LATER) -> Plan:
        return plan(
            self.instance,
            self.tracker.tracking_uri,
            self.tracker.experiment,
            self.data_dir,
            before,
        )

    def names(self, ids: Sequence[str]) -> set[str]:
        names = {run_id: name for name, run_id in self.runs.items()}
        return {names[run_id] for run_id in ids}


@pytest.fixture(scope='module')
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    folder = tmp_path_factory.mktemp('installation')
    tracker = MlflowTracker(
        tracking_uri=f'sqlite:///{folder / "mlflow.db"}',
        artifact_folder=str(folder / 'artifacts'),
    )
    log = folder / 'sample' / 'run.log'
    log.parent.mkdir()
    log.write_text('old')
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        history = History(instance, tracker, folder)
        history.run('replaced', [texts, model, good])
        history.middle = time.time()
        fails = {'ops': {'model': {'config': {'fails': True}}}}
        history.run('failed', [texts, model], selection=[model], run_config=fails)
        history.run('texts of the newest model', [texts])
        history.run('newest model', [texts, model], selection=[model])
        # Texts that the next run replaces, and so only the check.
        check = dg.AssetSelection.checks(good) | dg.AssetSelection.assets(texts)
        history.run('newest check', [texts, model, good], selection=check)
        history.run('newest texts', [texts])
        history.run('of another partition', [texts, model, good], '2022')
        yield history


def test_the_newest_of_each_partition_stays_with_what_it_was_made_from(history: History) -> None:
    assert history.names([run.run_id for run in history.plan().runs]) == {'replaced', 'failed'}


def test_what_is_young_stays(history: History) -> None:
    going = history.plan(history.middle).runs
    assert history.names([run.run_id for run in going]) == {'replaced'}
    assert history.plan(0).runs == []
    assert history.plan(0).files == []


def test_what_a_registered_model_comes_from_stays(history: History) -> None:
    client = MlflowClient(history.tracker.tracking_uri)
    run_id = next(
        run.run_id for run in tracked(history) if run.dagster_run_id == history.runs['replaced']
    )
    logged = client.create_logged_model(
        client.get_run(run_id).info.experiment_id,
        source_run_id=run_id,
        tags={'checkpoint': '/somewhere/last.ckpt'},
    )
    client.finalize_logged_model(logged.model_id, LoggedModelStatus.READY)
    client.create_registered_model('naics')
    try:
        client.create_model_version('naics', logged.artifact_location)
        kept = mlflow_runs.registered(history.tracker.tracking_uri, history.tracker.experiment)
        going = history.plan().runs
    finally:
        client.delete_registered_model('naics')
    assert kept == Registered(frozenset({run_id}), frozenset({Path('/somewhere/last.ckpt')}))
    assert history.names([run.run_id for run in going]) == {'failed'}


def tracked(history: History) -> list[TrackedRun]:
    return mlflow_runs.list_runs(history.tracker.tracking_uri, history.tracker.experiment)


def test_a_tracker_that_does_not_answer_leaves_everything(history: History) -> None:
    with pytest.raises(NaicsError) as caught:
        plan(history.instance, 'http://me:secret@127.0.0.1:9', 'naics', history.data_dir, LATER)
    said = str(caught.value)
    assert said.startswith('MLflow at http://127.0.0.1:9 does not do what it is asked for (')
    assert 'secret' not in said


def test_a_database_that_is_not_there_has_no_runs_and_is_not_made(
    history: History, tmp_path: Path
) -> None:
    found = plan(
        history.instance, f'sqlite:///{tmp_path / "none.db"}', 'naics', history.data_dir, LATER
    )
    assert found.tracked == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_mlflow_that_is_open_keeps_its_dagster_run() -> None:
    runs = [TrackedRun('a', 'A', True), TrackedRun('b', 'B', False)]
    assert mlflow_runs.needed_dagster_runs(runs, Registered()) == {'A'}
    assert mlflow_runs.needed_dagster_runs(runs, Registered(frozenset({'b'}))) == {'A', 'B'}
    assert [run.run_id for run in mlflow_runs.of_dagster_runs(runs, {'B'})] == ['b']


def test_runs_by_their_age_and_what_they_try_again() -> None:
    runs = [
        PastRun('at work', None),
        PastRun('young', 20.0, ('tried', 'first')),
        PastRun('tried', 9.0, ('first',)),
        PastRun('first', 8.0),
        PastRun('needed', 7.0, ('long ago', 'gone already')),
        PastRun('long ago', 6.0),
        PastRun('old', 9.9),
    ]
    assert [run.run_id for run in to_delete(runs, {'needed'}, 10.0)] == ['old']
    everything = to_delete(runs, set(), 30.0)
    assert [run.run_id for run in everything] == [run.run_id for run in runs[1:]]


def test_the_command_tells_and_removes_nothing(
    history: History, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # DAGSTER_HOME is the instance's already.
    monkeypatch.setenv('NAICS_DATA_DIR', str(history.data_dir))
    monkeypatch.setenv('MLFLOW_TRACKING_URI', history.tracker.tracking_uri)
    with pytest.raises(SystemExit) as ended:
        main(['clean', '--older-than', '0'])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert history.runs['replaced'] in said
    assert str(history.data_dir / 'sample' / 'run.log') in said
    assert [line.split()[-2] for line in said.splitlines() if line.startswith('in all')] == ['7']
    assert said.endswith('Nothing was removed: naics clean --yes does.\n')
    assert len(history.plan().runs) == 2
    with pytest.raises(SystemExit):
        main(['clean'])
    assert history.runs['replaced'] not in capsys.readouterr().out


def test_a_stack_s_data_are_not_cleaned_by_what_another_dagster_knows(history: History) -> None:
    home = history.data_dir / 'stack' / 'dagster_home'
    home.mkdir(parents=True)
    with pytest.raises(NaicsError, match=r'is the data folder of a stack.*stack --environment'):
        history.plan()
    home.rmdir()
    home.symlink_to(os.environ['DAGSTER_HOME'])
    assert history.plan().runs
    home.unlink()


def test_a_dry_run_of_the_job_tells_and_the_job_removes(history: History) -> None:
    """The last of this file: the runs of the others are gone afterwards."""
    resources = {
        'paths': NaicsPaths(data_dir=str(history.data_dir)),
        'mlflow': history.tracker,
    }

    def clean(**config: object) -> list[str]:
        done = cleaning_job.execute_in_process(
            instance=history.instance,
            resources=resources,
            run_config={'ops': {'remove_leftovers': {'config': {'older_than_days': 0, **config}}}},
        )
        entries = history.instance.all_logs(done.run_id)
        return [entry.user_message for entry in entries]

    client = MlflowClient(history.tracker.tracking_uri)
    old = {history.runs['replaced'], history.runs['failed']}
    gone = [run for run in tracked(history) if run.dagster_run_id in old]
    stay = [run for run in tracked(history) if run.dagster_run_id not in old]
    experiment = client.get_run(gone[0].run_id).info.experiment_id
    logged = client.create_logged_model(experiment, source_run_id=gone[0].run_id)
    model = history.data_dir / 'weights'
    model.mkdir()
    (model / 'weights').write_bytes(b'0' * 300_000)
    client.log_model_artifacts(logged.model_id, str(model))
    client.log_text(gone[0].run_id, 'a page', 'page.txt')
    client.log_text(stay[0].run_id, 'a page', 'page.txt')
    by_hand = client.create_run(experiment)
    places = [path for run_id in old for path in dagster_runs.places_of(history.instance, run_id)]
    assert {path.suffix for path in places} >= {'.db', '.err'}
    before = latest(history)

    told = clean(dry_run=True)
    assert any('Dagster runs with their events and logs: 2 would go, 0.' in line for line in told)
    assert {run.run_id for run in dagster_runs.list_runs(history.instance)} >= old
    assert all(path.is_file() for path in places)

    told = clean()
    # Two of each Dagster run: its own and that of the job.
    assert any('MLflow runs with their files: 4 gone, 0.3 MB' in line for line in told)
    left = {run.run_id for run in dagster_runs.list_runs(history.instance)}
    assert left >= set(history.runs.values()) - old
    assert not left & old
    assert not any(path.exists() for path in places)
    assert not (history.data_dir / 'sample' / 'run.log').exists()
    # Gone for good, with files and logged models; of the others nothing is.
    assert {run.run_id for run in tracked(history)} == {run.run_id for run in stay}
    assert client.get_run(by_hand.info.run_id).info.lifecycle_stage == 'active'
    in_trash = client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)
    assert list(in_trash) == []
    assert list(client.search_logged_models([experiment])) == []
    assert not list(history.data_dir.glob(f'artifacts/{gone[0].run_id}/**/*.txt'))
    assert list(history.data_dir.glob(f'artifacts/{stay[0].run_id}/**/page.txt'))
    assert not list(history.data_dir.glob('artifacts/**/weights'))
    assert latest(history) == before
    # The next time only the cleaning runs themselves go, once they are old.
    assert not {run.run_id for run in history.plan().runs} & set(history.runs.values())


def latest(history: History) -> list[dg.AssetMaterialization]:
    """The latest materialisations, with what they were made from in their tags."""
    instance = history.instance
    records = [
        instance.get_latest_data_version_record(asset.key, partition_key=partition)
        for asset in (texts, model)
        for partition in EDITION.get_partition_keys()
    ]
    return [record.asset_materialization for record in records]


def test_the_schedule_waits_for_a_person() -> None:
    schedule = defs().resolve_schedule_def('cleaning_monthly')
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED
    assert schedule.job_name == 'cleaning'
