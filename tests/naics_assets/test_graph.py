"""The data half of the graph, run for real on the bundled edition and on broken sources."""

from pathlib import Path

import dagster as dg
import pytest
import tenacity

from naics_assets.definitions import defs
from naics_assets.lib.paths import NaicsPaths
from naics_assets.materialize import materialise
from naics_model.corpus import download
from naics_model.storage.layout import EditionFolder


def run_data_job(
    instance: dg.DagsterInstance, data_dir: Path, edition: str, source_dir: str = ''
) -> dg.ExecuteInProcessResult:
    return (
        defs()
        .resolve_job_def('edition_data')
        .execute_in_process(
            instance=instance,
            partition_key=edition,
            raise_on_error=False,
            resources={'paths': NaicsPaths(data_dir=str(data_dir), source_dir=source_dir)},
        )
    )


def versions(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {
        event.asset_key.to_user_string(): event.materialization.tags['dagster/data_version']
        for event in result.get_asset_materialization_events()
    }


def failure_of(result: dg.ExecuteInProcessResult, step: str) -> str:
    failure = result.failure_data_for_node(step)
    assert failure is not None
    return failure.user_failure_data.description


def test_sample_data_is_built_checked_and_versioned_by_content(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        first = run_data_job(instance, tmp_path, 'sample')
        again = run_data_job(instance, tmp_path, 'sample')
    assert first.success
    checks = first.get_asset_check_evaluations()
    assert len(checks) > 10
    assert [c.check_name for c in checks if not c.passed and c.blocking] == []
    folder = EditionFolder(tmp_path, 'sample')
    for path in (folder.activities, folder.relations, folder.triplets, folder.relation_index):
        assert path.is_file()
    # Equal content has an equal version: otherwise everything after it would run again.
    assert len(versions(first)) == 11
    assert versions(again) == versions(first)


def test_without_network_the_error_names_the_address_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A proxy that nobody listens at: the network is out of reach on any machine.
    monkeypatch.setenv('HTTPS_PROXY', 'http://127.0.0.1:9')
    monkeypatch.setattr(download, 'RETRY_WAIT', tenacity.wait_none())
    with dg.instance_for_test() as instance:
        result = run_data_job(instance, tmp_path, '2022')
    assert not result.success
    said = failure_of(result, 'codes_workbook')
    assert 'https://www.census.gov/naics/2022NAICS/2-6%20digit_2022_Codes.xlsx' in said
    assert 'NAICS_SOURCE_DIR' in said


def test_a_web_page_in_place_of_a_workbook_keeps_the_last_good_file(tmp_path: Path) -> None:
    source = tmp_path / 'source' / '2022'
    source.mkdir(parents=True)
    good = EditionFolder(tmp_path, '2022').source / '2-6 digit_2022_Codes.xlsx'
    good.parent.mkdir(parents=True)
    good.write_bytes(b'the last good bytes')
    (source / good.name).write_text('<!DOCTYPE html><html>Please sign in</html>')
    with dg.instance_for_test() as instance:
        result = run_data_job(instance, tmp_path, '2022', source_dir=str(source.parent))
    assert not result.success
    assert good.name in failure_of(result, 'codes_workbook')
    assert good.read_bytes() == b'the last good bytes'


def test_the_terminal_run_fails_with_one_sentence_and_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('DAGSTER_HOME', str(tmp_path / 'home'))
    (tmp_path / 'home').mkdir()
    monkeypatch.setenv('NAICS_DATA_DIR', str(tmp_path / 'data'))
    monkeypatch.setenv('MLFLOW_TRACKING_URI', f'sqlite:///{tmp_path / "mlflow.db"}')
    monkeypatch.setenv('NAICS_SOURCE_DIR', str(tmp_path / 'nowhere'))
    assert materialise('2022', 'smoke') == 1
    said = capfd.readouterr().out
    assert 'nowhere' in said
    assert 'Traceback' not in said
    assert (tmp_path / 'data' / '2022' / 'run.log').is_file()
