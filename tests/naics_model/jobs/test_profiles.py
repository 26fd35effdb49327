"""Every packaged profile is understood by the command it belongs to."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from jsonargparse import ArgumentParser

from naics_model.jobs.command import parse, profile_name
from naics_model.refinement import cli as refinement
from naics_model.refinement.module import RefinementSettings
from naics_model.training import cli as training
from naics_model.training.data import DataSettings

TRAINING = sorted(training.PROFILES.glob('*.yaml'))
OVERLAYS = sorted(training.PROFILES.glob('overlays/*.yaml'))
REFINEMENT = sorted(refinement.PROFILES.glob('*.yaml'))
REQUIRED = {
    'training': '--curriculum=01_stage_easy --run_dir=r --data.relation_index=i '
    '--data.token_cache=t --data.phrases=p',
    'refinement': '--embeddings=e --descriptions=d --out=o --run_dir=r',
}


def settings_of(path: Path) -> dict[str, object]:
    settings: dict[str, object] = yaml.safe_load(path.read_text())
    return settings


def leaves(settings: object, prefix: str = '') -> dict[str, object]:
    if not isinstance(settings, dict):
        return {prefix: settings}
    return {
        name: value
        for key, inner in settings.items()
        for name, value in leaves(inner, f'{prefix}.{key}' if prefix else key).items()
    }


def test_both_jobs_have_the_three_profiles() -> None:
    for profiles in (TRAINING, REFINEMENT):
        assert {path.stem for path in profiles} == {'smoke', 'cpu', 'gpu'}


@pytest.mark.parametrize('path', TRAINING + REFINEMENT, ids=lambda p: f'{p.parts[-3]}-{p.stem}')
def test_every_setting_of_a_profile_arrives(path: Path) -> None:
    job = path.parts[-3]
    build = {'training': training, 'refinement': refinement}[job].build_parser
    parser: ArgumentParser = build()
    config = parse(parser, ['--config', path.stem, *REQUIRED[job].split()], path.parent)
    for name, value in leaves(settings_of(path)).items():
        if name != 'trainer.callbacks':
            assert config[name] == value, name


@pytest.mark.parametrize('overlay', OVERLAYS, ids=lambda p: p.stem)
@pytest.mark.parametrize('path', TRAINING, ids=lambda p: p.stem)
def test_an_overlay_changes_what_it_says_and_nothing_else(path: Path, overlay: Path) -> None:
    parser = training.build_parser()
    arguments = ['--config', path.stem, '--config', overlay.stem, *REQUIRED['training'].split()]
    config = parse(parser, arguments, path.parent)
    expected = {**leaves(settings_of(path)), **leaves(settings_of(overlay))}
    for name, value in expected.items():
        if name != 'trainer.callbacks':
            assert config[name] == value, name
    assert profile_name(config) == path.stem


def test_the_control_differs_in_its_curvature_alone() -> None:
    (control,) = (overlay for overlay in OVERLAYS if overlay.stem == 'euclidean')
    assert settings_of(control) == {'model': {'curvature': 0.0}}


@pytest.mark.parametrize('path', TRAINING, ids=lambda p: p.stem)
def test_a_training_profile_s_trainer_and_data_can_be_made(path: Path) -> None:
    parser = training.build_parser()
    arguments = ['--config', path.stem, *REQUIRED['training'].split()]
    config = parse(parser, arguments, path.parent)
    data = DataSettings(**config.data.as_dict())
    # A step of few documents beside many phrases: a document takes ten times as long to encode.
    assert data.documents_per_step * 8 <= data.phrases_per_step
    assert config.trainer.max_epochs >= 1


@pytest.mark.parametrize('path', REFINEMENT, ids=lambda p: p.stem)
def test_a_refinement_profile_makes_its_settings(path: Path) -> None:
    parser = refinement.build_parser()
    arguments = ['--config', path.stem, *REQUIRED['refinement'].split()]
    ready = parser.instantiate(parse(parser, arguments, path.parent))
    assert isinstance(ready.model, RefinementSettings)
    assert ready.model.weights.hierarchy_fit > 0


def test_callbacks_of_a_profile_are_made() -> None:
    parser = ArgumentParser(exit_on_error=False)
    training.add_trainer_options(parser)
    stopping = {
        'class_path': 'pytorch_lightning.callbacks.EarlyStopping',
        'init_args': {'monitor': 'val/loss'},
    }
    ready = parser.instantiate(parser.parse_object({'trainer': {'callbacks': [stopping]}}))
    assert [type(callback).__name__ for callback in ready.trainer.callbacks] == ['EarlyStopping']
