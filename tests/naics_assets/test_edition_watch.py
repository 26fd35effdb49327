"""The edition watch tick by tick: what it finds on a real local server, and what it asks to run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from naics_assets.definitions import defs
from naics_assets.defs.automation import watch as sensor
from naics_assets.lib.paths import NaicsPaths
from naics_model.corpus import watch
from naics_model.corpus.editions import edition
from naics_model.storage.layout import EditionFolder

NOTHING_NEW = 'No workbook has new bytes.'


class Ticks:
    """Ticks of the sensor in a row, each with the cursor of the one before."""

    def __init__(self, instance: dg.DagsterInstance, data_dir: Path) -> None:
        self.instance = instance
        self.paths = NaicsPaths(data_dir=str(data_dir))
        self.cursor: str | None = None

    def built(self, name: str) -> None:
        self.instance.report_runless_asset_event(
            dg.AssetMaterialization('codes_workbook', partition=name)
        )

    def __call__(self) -> tuple[list[dg.RunRequest], str | None]:
        context = dg.build_sensor_context(
            instance=self.instance,
            cursor=self.cursor,
            resources={'paths': self.paths},
            definitions=defs(),
        )
        result = sensor.edition_watch.evaluate_tick(context)
        self.cursor = result.cursor
        return result.run_requests or [], result.skip_message


@pytest.fixture
def ticks(census: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ticks:
    """2017 and 2022 have been built from the site; 2027 is expected there."""
    known = {name: census.edition(name) for name in ('2017', '2022')}
    for name, published in known.items():
        census.fetched(published, EditionFolder(tmp_path, name).source)
    expected = {'2027': {'codes': census.server.url_for('/2027/codes.xlsx')}}
    monkeypatch.setattr(sensor, 'load_editions', lambda: {'sample': edition('sample'), **known})
    monkeypatch.setattr(watch, 'expected_editions', lambda: expected)
    made = Ticks(dg.DagsterInstance.ephemeral(), tmp_path)
    for name in ('sample', *known):
        made.built(name)
    return made


def test_the_same_bytes_start_nothing_and_are_not_read(ticks: Ticks, census: Any) -> None:
    assert ticks() == ([], NOTHING_NEW)
    assert ticks.cursor == '{}'
    assert {line.split()[0] for line in census.asked} == {'HEAD'}


def test_new_bytes_start_a_run_for_that_workbook_of_that_edition(ticks: Ticks, census: Any) -> None:
    newer = census.files['/2022/index.xlsx'][0] + b'more'
    census.publish('/2022/index.xlsx', newer, etag='"second"')
    requests, skipped = ticks()
    assert skipped is None
    assert len(requests) == 1
    assert requests[0].partition_key == '2022'
    assert requests[0].asset_selection == [dg.AssetKey('index_workbook')]
    assert requests[0].run_key == f'2022:{hashlib.sha256(newer).hexdigest()}'
    # Dagster starts no second run for one key. The bytes are not read again to find that out.
    census.asked.clear()
    assert ticks()[0][0].run_key == requests[0].run_key
    assert 'GET /2022/index.xlsx' not in census.asked


def test_several_new_workbooks_are_one_run(ticks: Ticks, census: Any) -> None:
    for path in ('/2017/index.xlsx', '/2017/codes.xlsx', '/2022/codes.xlsx'):
        census.publish(path, b'PK' + path.encode(), etag='"second"')
    requests, _ = ticks()
    assert [(one.partition_key, one.asset_selection) for one in requests] == [
        ('2017', [dg.AssetKey('codes_workbook'), dg.AssetKey('index_workbook')]),
        ('2022', [dg.AssetKey('codes_workbook')]),
    ]


def test_an_edition_that_nobody_has_built_is_not_watched(
    ticks: Ticks, census: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As after an entry of it in editions.toml.
    added = {**sensor.load_editions(), '2032': census.edition('2032')}
    monkeypatch.setattr(sensor, 'load_editions', lambda: added)
    assert ticks() == ([], NOTHING_NEW)
    assert not [line for line in census.asked if '/2032/' in line]


def test_an_edition_that_has_appeared_is_a_warning_with_the_runbook(
    ticks: Ticks, census: Any
) -> None:
    assert 'runbook' not in (ticks()[1] or '')
    census.publish('/2027/codes.xlsx', b'PK')
    requests, skipped = ticks()
    assert requests == []
    assert skipped is not None
    assert 'Edition 2027 has appeared' in skipped
    assert '/2027/codes.xlsx' in skipped
    assert 'docs/edition_runbook.md' in skipped


def test_a_source_in_trouble_is_said_and_the_other_edition_is_looked_at(
    ticks: Ticks, census: Any
) -> None:
    for kind in edition('sample').workbooks:
        census.broken[f'/2017/{kind}.xlsx'] = 503
    requests, skipped = ticks()
    assert requests == []
    assert skipped is not None
    assert skipped.startswith(NOTHING_NEW)
    assert 'HTTP 503' in skipped
    census.publish('/2022/codes.xlsx', b'PK new', etag='"second"')
    requests, _ = ticks()
    assert [one.partition_key for one in requests] == ['2022']


def test_without_network_a_tick_ends_with_a_sentence(ticks: Ticks, census: Any) -> None:
    census.server.stop()
    try:
        requests, skipped = ticks()
    finally:
        census.server.start()
    assert requests == []
    assert 'does not answer' in (skipped or '')


def test_a_cursor_of_another_release_is_begun_anew(ticks: Ticks) -> None:
    ticks.cursor = '{"2022": "a text"}'
    assert ticks() == ([], NOTHING_NEW)
    assert ticks.cursor == '{}'


def test_a_folder_of_workbooks_is_watched_without_the_network(
    ticks: Ticks, census: Any, tmp_path: Path
) -> None:
    source_dir = tmp_path / 'workbooks'
    for name in ('2017', '2022'):
        folder = source_dir / name
        folder.mkdir(parents=True)
        for path in EditionFolder(tmp_path, name).source.glob('*.xlsx'):
            (folder / path.name).write_bytes(path.read_bytes())
    ticks.paths = NaicsPaths(data_dir=str(tmp_path), source_dir=str(source_dir))
    assert ticks() == ([], NOTHING_NEW)
    (source_dir / '2017' / edition('sample').workbook('index').file).write_bytes(b'PK new')
    requests, _ = ticks()
    assert [one.partition_key for one in requests] == ['2017']
    assert requests[0].run_key == f'2017:{hashlib.sha256(b"PK new").hexdigest()}'
    assert census.asked == []
