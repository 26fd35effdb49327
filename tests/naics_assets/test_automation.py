"""What runs by itself, tick by tick: the real graph's conditions, over stand-ins for its steps.

A stand-in makes no file: it has the data version and the results of checks that the test says. Its
dependencies, checks, partitions and condition are those of the asset it stands for, and its runs
are runs of Dagster.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import openpyxl
import pytest
from dagster._core.events import StepMaterializationData

from naics_assets.definitions import defs
from naics_assets.lib.automation import DATA_GROUPS, DATA_OF_MODELS, MODEL_GROUPS
from naics_model.corpus import download
from naics_model.corpus.editions import PACKAGED_WORKBOOKS, edition

WORKBOOKS = {
    'codes_workbook',
    'descriptions_workbook',
    'index_workbook',
    'cross_references_workbook',
    'concordance_workbook',
}
DATA = {
    'descriptions',
    'activities',
    'phrases',
    'code_splits',
    'concordance',
    'distances',
    'relations',
    'triplets',
    'relation_index',
    'token_cache',
}
MODELS = {
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
}
MODEL_SENSOR = 'model_automation'
SENSORS = {'data_automation': DATA_GROUPS, 'model_automation': MODEL_GROUPS}


class World:
    """The graph with stand-ins, an instance, and what an operator sees of both.

    Attributes:
        version: asset -> the version of what its stand-in makes; `v1` where it is not here.
        failing: checks that do not pass, as `asset:check`.
        breaking: assets whose step fails.
    """

    def __init__(self, *editions: str) -> None:
        self.know(*editions)
        self.forget()

    def forget(self) -> None:
        """Begin anew: nothing has been made, no sensor has looked."""
        self.version: dict[str, str] = {}
        self.failing: set[str] = set()
        self.breaking: set[str] = set()
        self.instance = dg.DagsterInstance.ephemeral()
        self.cursors: dict[str, Any] = {}

    def know(self, *editions: str) -> None:
        """Load the code location with these editions in editions.toml."""
        real = defs()
        self.graph = real.resolve_asset_graph()
        self.partitions = dg.StaticPartitionsDefinition(list(editions))
        checked = {key.asset_key for key in self.graph.asset_check_keys}
        self.definitions = dg.Definitions(
            assets=[self._asset(spec) for spec in real.resolve_all_asset_specs()],
            asset_checks=[self._checks(key) for key in sorted(checked)],
        )
        self.job = self.definitions.resolve_implicit_global_asset_job_def()

    def _asset(self, spec: dg.AssetSpec) -> dg.AssetsDefinition:
        name = spec.key.to_user_string()

        @dg.multi_asset(name=name, specs=[spec.replace_attributes(partitions_def=self.partitions)])
        def stand_in() -> Iterator[dg.MaterializeResult]:
            if name in self.breaking:
                raise dg.Failure(f'{name} was told to fail', allow_retries=False)
            version = self.version.get(name, 'v1')
            yield dg.MaterializeResult(asset_key=name, data_version=dg.DataVersion(version))

        return stand_in

    def _checks(self, asset: dg.AssetKey) -> dg.AssetChecksDefinition:
        specs = [
            self.graph.get_check_spec(key)._replace(partitions_def=self.partitions)
            for key in self.graph.get_check_keys_for_assets({asset})
        ]

        @dg.multi_asset_check(name=f'{asset.to_user_string()}_checks', specs=specs)
        def stand_ins() -> Iterator[dg.AssetCheckResult]:
            for spec in specs:
                yield dg.AssetCheckResult(
                    asset_key=asset,
                    check_name=spec.name,
                    passed=f'{asset.to_user_string()}:{spec.name}' not in self.failing,
                    # The gate's is a warning, and so does not stop a run.
                    severity=(
                        dg.AssetCheckSeverity.WARN
                        if spec.name == 'gate'
                        else dg.AssetCheckSeverity.ERROR
                    ),
                )

        return stand_ins

    def run(self, edition: str, *assets: str) -> None:
        """Materialise assets and run their checks, as a person or a sensor does."""
        self.job.execute_in_process(
            instance=self.instance,
            partition_key=edition,
            asset_selection=list(map(dg.AssetKey, assets)),
            raise_on_error=False,
            run_config={'loggers': {'console': {'config': {'log_level': 'CRITICAL'}}}},
        )

    def begin(self, edition: str, *assets: str) -> dg.DagsterRun:
        """Begin a run that stays at work."""
        selection = frozenset(map(dg.AssetKey, assets))
        return self.instance.create_run_for_job(
            self.job.get_subset(asset_selection=selection),
            status=dg.DagsterRunStatus.STARTED,
            tags={'dagster/partition': edition},
            asset_selection=selection,
        )

    def make(self, run: dg.DagsterRun, asset: str) -> None:
        """Let a run that is at work make one of its assets."""
        made = dg.AssetMaterialization(
            asset,
            partition=run.tags['dagster/partition'],
            tags={'dagster/data_version': self.version[asset]},
        )
        self._report(run, dg.DagsterEventType.ASSET_MATERIALIZATION, StepMaterializationData(made))

    def cancel(self, run: dg.DagsterRun) -> None:
        """End a run that is at work."""
        self._report(run, dg.DagsterEventType.RUN_CANCELED)

    def _report(self, run: dg.DagsterRun, kind: dg.DagsterEventType, data: Any = None) -> None:
        event = dg.DagsterEvent(kind.value, run.job_name, event_specific_data=data)
        self.instance.report_dagster_event(event, run.run_id)

    def tick(self, sensor: str = 'data_automation') -> dict[str, set[str]]:
        """Let a sensor look once.

        Returns:
            edition -> the assets that it asks for.
        """
        result = dg.evaluate_automation_conditions(
            defs=self.definitions,
            instance=self.instance,
            asset_selection=dg.AssetSelection.groups(*SENSORS[sensor]),
            cursor=self.cursors.get(sensor),
        )
        self.cursors[sensor] = result.cursor
        asked: dict[str, set[str]] = {}
        for key in self.graph.get_all_asset_keys():
            for name in result.get_requested_partitions(key):
                asked.setdefault(name, set()).add(key.to_user_string())
        return asked


@pytest.fixture(scope='module')
def stand_ins() -> World:
    # It says a line for each asset of each tick.
    logging.getLogger('dagster.automation_condition_tester').setLevel(logging.WARNING)
    return World('2017', '2022')


@pytest.fixture
def world(stand_ins: World) -> World:
    """Two editions of which nothing has been made."""
    stand_ins.forget()
    return stand_ins


def test_data_follow_new_content_only_of_their_edition_and_as_far_as_it_goes(
    world: World,
) -> None:
    world.run('2022', *WORKBOOKS, *DATA)
    world.run('2017', *WORKBOOKS, 'descriptions', 'distances')
    assert world.tick() == {}
    # The workbook was fetched again, and has the same bytes.
    world.run('2022', 'index_workbook')
    assert world.tick() == {}
    # An erratum of the index: distances and all else are left alone.
    world.version['index_workbook'] = 'v2'
    world.run('2022', 'index_workbook')
    assert world.tick() == {'2022': {'activities', 'phrases'}}
    # Asked for once.
    assert world.tick() == {}
    world.version['descriptions_workbook'] = 'v2'
    world.run('2022', 'descriptions_workbook')
    assert world.tick() == {'2022': DATA}


def test_nothing_follows_from_data_that_failed(world: World) -> None:
    world.run('2022', *WORKBOOKS, *DATA)
    assert world.tick() == {}
    world.version['descriptions'] = 'v2'
    world.failing = {'descriptions:codes_unique'}
    world.run('2022', 'descriptions')
    assert world.tick() == {}
    # The same data, after whatever was wrong with the check was mended.
    world.failing.clear()
    world.run('2022', 'descriptions')
    assert world.tick() == {'2022': DATA - {'descriptions'}}
    # A step that refused what it was to write has made nothing that could be followed.
    world.breaking = {'descriptions'}
    world.run('2022', 'descriptions')
    assert world.tick() == {}


def test_a_new_edition_waits_for_its_workbooks_and_leaves_the_others_alone() -> None:
    world = World('2017')
    world.run('2017', *WORKBOOKS, 'descriptions', 'distances')
    assert world.tick() == {}
    world.know('2017', '2022')
    assert world.tick() == {}
    # No concordance was published.
    world.run('2022', *WORKBOOKS - {'concordance_workbook'})
    made: set[str] = set()
    while asked := world.tick():
        assert asked.keys() == {'2022'}
        made |= asked['2022']
        world.run('2022', *asked['2022'])
    assert made == DATA - {'concordance'}


def test_models_wait_for_all_data_and_then_are_made_in_one_run(world: World) -> None:
    world.run('2022', *WORKBOOKS, *DATA, *MODELS)
    assert world.tick(MODEL_SENSOR) == {}
    assert world.tick() == {}
    # The embeddings of the text were made of both; but the index of the sampler is still old.
    world.version |= {'descriptions': 'v2', 'token_cache': 'v2'}
    world.run('2022', 'descriptions', 'token_cache')
    assert world.tick(MODEL_SENSOR) == {}
    rest = DATA - {'descriptions', 'token_cache'}
    assert world.tick() == {'2022': rest}
    run = world.begin('2022', *rest)
    assert world.tick(MODEL_SENSOR) == {}
    world.cancel(run)
    assert world.tick(MODEL_SENSOR) == {}
    world.run('2022', *rest)
    assert world.tick(MODEL_SENSOR) == {'2022': MODELS}
    assert world.tick(MODEL_SENSOR) == {}
    # The gate's failure is a warning: the text embeddings are released then.
    world.version['refined_evaluation'] = 'v2'
    world.failing = {'refined_evaluation:gate'}
    world.run('2022', 'refined_evaluation')
    assert world.tick(MODEL_SENSOR) == {'2022': {'evaluation_report', 'model_bundle'}}


def test_models_of_an_edition_that_nobody_has_trained_or_that_were_cancelled_wait(
    world: World,
) -> None:
    read = ['relation_index', 'token_cache', 'phrases']
    world.run('2022', *read, 'stage_1_easy', 'stage_2_medium')
    assert world.tick(MODEL_SENSOR) == {}
    world.run('2017', *read)
    assert world.tick(MODEL_SENSOR) == {}
    # A person trains anew, and stops it half way; another time it fails there.
    run = world.begin('2022', 'stage_1_easy', 'stage_2_medium')
    world.version['stage_1_easy'] = 'v2'
    world.make(run, 'stage_1_easy')
    assert world.tick(MODEL_SENSOR) == {}
    world.cancel(run)
    assert world.tick(MODEL_SENSOR) == {}
    world.version['stage_1_easy'] = 'v3'
    world.breaking = {'stage_2_medium'}
    world.run('2022', 'stage_1_easy', 'stage_2_medium')
    assert world.tick(MODEL_SENSOR) == {}
    # What has changed by itself is followed.
    world.breaking.clear()
    world.run('2022', 'stage_2_medium')
    assert world.tick(MODEL_SENSOR) == {}
    world.version['stage_1_easy'] = 'v4'
    world.run('2022', 'stage_1_easy')
    assert world.tick(MODEL_SENSOR) == {'2022': {'stage_2_medium'}}


def test_an_erratum_of_the_index_with_the_real_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    books = shutil.copytree(PACKAGED_WORKBOOKS, tmp_path / 'workbooks')
    monkeypatch.setattr(download, 'PACKAGED_WORKBOOKS', books)
    monkeypatch.setenv('NAICS_DATA_DIR', str(tmp_path / 'data'))
    graph = defs()
    job = graph.resolve_job_def('edition_data')
    instance = dg.DagsterInstance.ephemeral()
    ticks: list[dg.EvaluateAutomationConditionsResult] = []

    def run(*assets: str) -> None:
        assert job.execute_in_process(
            instance=instance,
            partition_key='sample',
            asset_selection=list(map(dg.AssetKey, assets)),
        ).success

    def tick() -> set[str]:
        ticks.append(
            dg.evaluate_automation_conditions(
                defs=graph,
                instance=instance,
                asset_selection=dg.AssetSelection.groups(*DATA_GROUPS),
                cursor=ticks[-1].cursor if ticks else None,
            )
        )
        return {
            name for name in DATA if ticks[-1].get_requested_partitions(dg.AssetKey(name)) != set()
        }

    run(*WORKBOOKS, 'descriptions', 'activities', 'phrases', 'code_splits')
    run('distances', 'relations')
    assert tick() == set()
    path = books / edition('sample').workbook('index').file
    book = openpyxl.load_workbook(path)
    book.active['B2'] = f'{book.active["B2"].value}, corrected'
    book.save(path)
    run('index_workbook')
    assert tick() == {'activities', 'phrases'}
    run('activities', 'phrases')
    assert tick() == set()


def test_every_asset_has_its_condition_and_its_sensor_or_is_opt_in() -> None:
    graph = defs()
    conditions: dict[str, set[str]] = {}
    for spec in graph.resolve_all_asset_specs():
        condition = spec.automation_condition
        label = condition.get_label() if condition else None
        conditions.setdefault(label or 'none', set()).add(spec.key.to_user_string())
    assert conditions.pop('on_new_content') == DATA
    assert conditions.pop('on_whole_data') == MODELS
    assert WORKBOOKS | {'bi_encoder', 'curriculum_ablation'} <= conditions.pop('none')
    assert conditions == {}
    targets = {
        sensor.name: {
            key.to_user_string()
            for key in sensor.asset_selection.resolve(graph.resolve_asset_graph())
        }
        for sensor in graph.get_repository_def().sensor_defs
        if isinstance(sensor, dg.AutomationConditionSensorDefinition)
    }
    assert targets == {'data_automation': DATA, 'model_automation': MODELS}


def test_models_wait_for_the_data_that_they_are_made_from() -> None:
    read = {
        dep.asset_key.to_user_string()
        for spec in defs().resolve_all_asset_specs()
        if spec.key.to_user_string() in MODELS
        for dep in spec.deps
    }
    assert set(DATA_OF_MODELS) == read & DATA


def test_in_a_fresh_clone_nothing_starts_a_run_by_itself() -> None:
    repository = defs().get_repository_def()
    running = {
        sensor.name
        for sensor in repository.sensor_defs
        if sensor.default_status == dg.DefaultSensorStatus.RUNNING
    }
    # These two close MLflow runs that a killed step left open.
    assert running == {'close_mlflow_runs_of_failures', 'close_mlflow_runs_of_cancellations'}
    assert repository.schedule_defs
    for schedule in repository.schedule_defs:
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_the_weekly_evaluation_is_of_editions_that_have_embeddings() -> None:
    graph = defs()
    repository = graph.get_repository_def()
    schedule = repository.get_schedule_def('weekly_evaluation')
    monday = datetime(2026, 11, 30, 4, tzinfo=UTC)

    with dg.instance_for_test() as instance:
        context = dg.build_schedule_context(
            instance=instance, scheduled_execution_time=monday, repository_def=repository
        )
        assert 'full_edition' in (schedule.evaluate_tick(context).skip_message or '')
        instance.report_runless_asset_event(
            dg.AssetMaterialization('refined_embeddings', partition='2022')
        )
        requests = schedule.evaluate_tick(context).run_requests or []
    assert [(one.partition_key, one.run_key) for one in requests] == [('2022', '2022:2026-11-30')]
    job = graph.resolve_job_def(schedule.job_name)
    assert {key.to_user_string() for key in job.asset_layer.executable_asset_keys} == {
        'baselines',
        'text_evaluation',
        'refined_evaluation',
        'evaluation_report',
    }
