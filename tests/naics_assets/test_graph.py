"""The data half of the graph, run for real on the bundled edition and on broken sources."""

from functools import partial
from pathlib import Path

import dagster as dg
import openpyxl
import polars as pl
import pytest
import tenacity

from naics_assets.definitions import defs
from naics_assets.lib.paths import NaicsPaths
from naics_assets.materialize import materialise
from naics_model.corpus import download
from naics_model.storage.layout import EditionFolder

# Without triplets and tokens: for tests on the real editions.
CORPUS_AND_TAXONOMY = dg.define_asset_job(
    'corpus_and_taxonomy', selection=dg.AssetSelection.groups('source', 'corpus', 'taxonomy')
)


def run_data_job(
    instance: dg.DagsterInstance,
    data_dir: Path,
    edition: str,
    source_dir: str = '',
    job: str = 'edition_data',
) -> dg.ExecuteInProcessResult:
    return (
        dg.Definitions.merge(defs(), dg.Definitions(jobs=[CORPUS_AND_TAXONOMY]))
        .resolve_job_def(job)
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
    assert len(versions(first)) == 15
    assert versions(again) == versions(first)


@pytest.fixture
def own_source(source_dir: Path, tmp_path: Path) -> Path:
    """A copy of the real workbooks that a test may change."""
    copy = tmp_path / 'source'
    for name in ('2017', '2022', 'concordances'):
        (copy / name).mkdir(parents=True)
        for file in (source_dir / name).iterdir():
            (copy / name / file.name).write_bytes(file.read_bytes())
    return copy


def test_an_errata_release_of_the_index_changes_what_is_made_from_it_and_nothing_else(
    own_source: Path, tmp_path: Path
) -> None:
    index = own_source / '2022' / '2022_NAICS_Index_File.xlsx'
    with dg.instance_for_test() as instance:
        run = partial(
            run_data_job, instance, tmp_path, '2022', str(own_source), 'corpus_and_taxonomy'
        )
        before = run()
        index.write_bytes(index.with_name(f'{index.stem}.earlier-release.xlsx').read_bytes())
        after = run()
    assert before.success
    assert after.success
    old, new = versions(before), versions(after)
    assert len(old) == 12
    changed = {asset for asset in old if old[asset] != new[asset]}
    assert changed == {'index_workbook', 'activities', 'phrases'}


def test_an_edition_without_a_concordance_skips_it(own_source: Path, tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        result = run_data_job(
            instance, tmp_path, '2017', str(own_source), job='corpus_and_taxonomy'
        )
    assert result.success
    assert not versions(result).keys() & {'concordance_workbook', 'concordance'}
    assert len(versions(result)) == 10


def test_a_broken_table_fails_with_its_rows_and_the_last_good_one_stays(
    own_source: Path, tmp_path: Path
) -> None:
    folder = EditionFolder(tmp_path, '2022')
    with dg.instance_for_test() as instance:
        run = partial(
            run_data_job, instance, tmp_path, '2022', str(own_source), 'corpus_and_taxonomy'
        )
        assert run().success
        good = folder.descriptions.read_bytes()
        path = own_source / '2022' / '2022_NAICS_Descriptions.xlsx'
        book = openpyxl.load_workbook(path)
        assert book.active['A4'].value == 1111
        book.active['C4'] = '&amp;lt;b&amp;gt;Oilseeds&amp;lt;/b&amp;gt; was escaped twice'
        book.save(path)
        result = run()
    assert not result.success
    failure = result.failure_data_for_node('descriptions').user_failure_data
    assert (
        'descriptions.parquet was not written: Texts hold HTML tags or entities: 1'
        in failure.description
    )
    assert path.name in failure.description
    assert '1111' in failure.metadata['no_markup'].value
    assert folder.descriptions.read_bytes() == good
    assert 'distances' not in versions(result)


def test_a_table_that_was_changed_on_disk_fails_its_check_and_shows_the_rows(
    tmp_path: Path,
) -> None:
    folder = EditionFolder(tmp_path, 'sample')
    with dg.instance_for_test() as instance:
        run_data_job(instance, tmp_path, 'sample', job='corpus_and_taxonomy')
        table = pl.read_parquet(folder.descriptions)
        emptied = pl.when(pl.col('code') == '444110').then(pl.lit(' ')).otherwise('description')
        table.with_columns(description=emptied).write_parquet(folder.descriptions)
        checks_alone = dg.define_asset_job(
            'checks_alone', selection=dg.AssetSelection.checks_for_assets('descriptions')
        )
        checks = (
            dg.Definitions.merge(defs(), dg.Definitions(jobs=[checks_alone]))
            .resolve_job_def('checks_alone')
            .execute_in_process(
                instance=instance,
                tags={'dagster/partition': 'sample'},
                raise_on_error=False,
                resources={'paths': NaicsPaths(data_dir=str(tmp_path))},
            )
            .get_asset_check_evaluations()
        )
    failed = [check for check in checks if not check.passed]
    assert [check.check_name for check in failed] == ['no_empty_text']
    assert failed[0].blocking
    assert '444110' in failed[0].metadata['offending'].value


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
