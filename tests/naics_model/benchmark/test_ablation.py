"""The ablation with real training processes, a tiny encoder, and few steps."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import yaml

from naics_model.benchmark.ablation import AblationOptions, _rows
from naics_model.benchmark.cli import main
from naics_model.benchmark.variants import DEFAULT, VARIANTS
from naics_model.curriculum.sadc import NegativeSettings
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import TINY
from naics_model.errors import ConfigurationError
from naics_model.jobs.command import parse
from naics_model.storage.files import read_json
from naics_model.storage.layout import EditionFolder
from naics_model.training import cli as training
from naics_model.training.cli import PROFILES

# The overlay of the ablation has experts, so that these two are one in two comparisons.
SAME = {'experts': 'uniform'}


def test_each_variant_is_its_settings_and_no_two_are_alike() -> None:
    parser = training.build_parser()
    required = '--curriculum=01_stage_easy --run_dir=r --data.relation_index=i --data.token_cache=t'
    required += ' --data.phrases=p'
    found, models = {}, {}
    for name, variant in VARIANTS.items():
        arguments = ['--config', 'cpu', '--config', 'ablation', *required.split()]
        config = parse(parser, [*arguments, *variant.arguments()], PROFILES)
        found[name] = NegativeSettings(**config.model.negatives.as_dict())
        models[name] = repr(config.model.as_dict())
    assert len(set(models.values())) == len(VARIANTS) - len(SAME)
    assert all(models[one] == models[other] for one, other in SAME.items())
    assert {settings.strategy for settings in found.values()} == {
        'uniform',
        'sans_static',
        'sadc',
    }
    # Each component that can be left out is, in one variant of those that always run.
    plain = found['sadc']
    left_out = {
        field: {getattr(found[name], field) for name in DEFAULT} - {getattr(plain, field)}
        for field in ('alpha', 'mask_siblings', 'router', 'false_negatives')
    }
    assert left_out == {
        'alpha': {0.0},
        'mask_siblings': {False},
        'router': {0.0, 1.0},
        'false_negatives': {'off'},
    }


def test_gains_are_of_the_same_seed() -> None:
    done = {
        (0, 'sadc'): {'warm/mrr': 0.5},
        (1, 'sadc'): {'warm/mrr': 0.7},
        (0, 'uniform'): {'warm/mrr': 0.45},
        (1, 'uniform'): {'warm/mrr': 0.63},
    }
    options = AblationOptions('cpu', (0, 1), ('sadc', 'uniform'))
    subject, other = (row['figures']['warm/mrr'] for row in _rows(done, options))
    assert subject == pytest.approx({'mean': 0.6, 'spread': 0.02**0.5})
    assert other == pytest.approx(
        {
            'mean': 0.54,
            'spread': 0.0162**0.5,
            'gain': -0.06,
            'gain_spread': 0.0002**0.5,
        }
    )
    (_, row) = _rows(done, options)
    assert row['against'] == 'SADC'
    (alone,) = _rows(done, AblationOptions('cpu', (1,), ('uniform',)))
    assert alone['against'] is None
    assert alone['figures'] == {'warm/mrr': {'mean': 0.63}}


def test_a_wrong_number_of_fits_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match='--at-once 0 runs nothing'):
        main(['ablation', '--edition', 'sample', '--at-once', '0'])


@pytest.mark.slow
@pytest.mark.usefixtures('forked_jobs')
def test_variants_are_trained_measured_and_compared_and_it_goes_on_where_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One protocol: what the other asks is tested with the benchmark.
    monkeypatch.setattr('naics_model.benchmark.ablation.ASKED', ('warm',))
    sample = EditionFolder(tmp_path / 'data', 'sample')
    for step in steps_of(sample, None, TINY):
        if step.name.endswith('_workbook') or sample.file(step.name).parent.name == 'corpus':
            step.run(lambda line: None)
    settings = yaml.safe_load((PROFILES / 'smoke.yaml').read_text())
    settings['model']['backbone'] = TINY
    profile = tmp_path / 'tiny.yaml'
    profile.write_text(yaml.safe_dump(settings))
    arguments = ['ablation', '--edition', 'sample', '--data-dir', str(sample.root)]
    arguments += ['--profile', str(profile), '--at-once', '2', '--variants', 'sadc']
    main(arguments)
    first = read_json(sample.ablation)['details']['rows']
    capfd.readouterr()

    main([*arguments, 'uniform'])
    said = capfd.readouterr().err
    # What was trained before is not trained again: a fit and a table.
    assert said.count('done before') == 2
    assert '2 of 2: warm, uniform, seed 0: ' in said
    result = read_json(sample.ablation)
    rows = {row['variant']: row['figures'] for row in result['details']['rows']}
    assert rows['sadc'] == first[0]['figures']
    for figures in rows.values():
        assert {'warm/mrr', 'warm_hard/mrr', 'flat_warm/mrr', 'warm/seconds'} <= set(figures)
        assert 0 < figures['warm/mrr']['mean'] <= 1
    assert 'warm/eliminated_share' not in rows['uniform']
    assert rows['sadc']['warm/eliminated_share']['mean'] > 0
    page = Path(result['files']['page']['path']).read_text()
    assert '| … without' not in page
    assert '| uniform | ' in page
    # No held-out entry is among those that were asked, and none that is asked was learned from.
    own = pl.read_parquet(sample.view('warm').path / 'ablation' / 'corpus' / 'activities.parquet')
    everything = pl.read_parquet(sample.activities)
    train = everything.filter(pl.col('split') == 'train')
    assert own['text'].to_list() == train['text'].to_list()
    asked = own.filter(pl.col('split') == 'heldout')
    assert not asked['verbatim'].any()
    assert result['details']['set_aside'] == len(asked)
    unquoted = (~own['verbatim']).sum()
    assert 0.1 * unquoted < len(asked) < 0.3 * unquoted
    # The last weights were asked, and what was read was cut short.
    run = EditionFolder(sample.view('warm').path / 'ablation', 'sadc_seed_0')
    trained = read_json(run.stage('stage_3_hard') / 'result.json')
    assert Path(trained['files']['checkpoint']['path']).name == 'last.ckpt'
    read = trained['details']['settings']['data']
    assert 'ablation/tokens' in read['token_cache']
    assert 'ablation/corpus' in read['phrases']
    phrases = pl.read_parquet(read['phrases'])
    assert not set(phrases['text']) & set(asked['text'])
    assert len(phrases) > 0.5 * len(pl.read_parquet(sample.view('warm').phrases))
