"""Refinements compared: real refining and attaching, of a tiny encoder that was not trained."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
import torch
import yaml

from naics_model.benchmark.asked import embeddings_of
from naics_model.benchmark.cli import main
from naics_model.benchmark.job import Ground
from naics_model.benchmark.refinement import VARIANTS
from naics_model.dataset.steps import steps_of
from naics_model.encoder.backbones import TINY
from naics_model.encoder.embedder import NaicsEmbedder
from naics_model.encoder.table import embedding_table
from naics_model.jobs.command import parse
from naics_model.refinement import cli as refinement
from naics_model.storage.files import read_json, read_parquet, write_parquet
from naics_model.storage.layout import EditionFolder
from naics_model.training.cli import PROFILES
from naics_model.training.stages import LAST_STAGE


def test_each_variant_is_its_settings_and_no_two_are_alike() -> None:
    parser = refinement.build_parser()
    required = ['--embeddings=e', '--descriptions=d', '--out=o', '--run_dir=r', '--config', 'cpu']
    found = {
        name: str(
            parse(parser, [*required, *variant.arguments()], refinement.PROFILES).model.as_dict()
        )
        for name, variant in VARIANTS.items()
    }
    assert len(set(found.values())) == len(VARIANTS)


@pytest.mark.slow
@pytest.mark.usefixtures('forked_jobs')
def test_seen_and_unseen_codes_are_refined_measured_and_compared(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = EditionFolder(tmp_path / 'data', 'sample')
    for step in steps_of(sample, None, TINY):
        if step.name.endswith('_workbook') or sample.file(step.name).parent.name == 'corpus':
            step.run(lambda line: None)

    def untrained(ground: Ground, *_: object) -> EditionFolder:
        """Stands in for minutes of training."""
        run = EditionFolder(ground.view.path, 'lorentz_seed_0')
        torch.manual_seed(0)
        model = NaicsEmbedder(TINY, hyperbolic_dim=8)
        model.save_pretrained(run.stage(LAST_STAGE) / 'model')
        for descriptions, _, table in ground.asked.to_embed(run):
            codes = read_parquet(descriptions)
            points = model.encode(codes['title'].to_list())
            found = embedding_table(codes, points.tangent, 1.0, points.unit)
            write_parquet(found, table)
        return run

    monkeypatch.setattr('naics_model.benchmark.refinement.trained_run', untrained)
    for folder, changed in (
        (PROFILES, {'model': {'backbone': TINY}}),
        (refinement.PROFILES, {'trainer': {'max_epochs': 1}, 'steps_per_epoch': 40}),
    ):
        settings = yaml.safe_load((folder / 'smoke.yaml').read_text())
        for key, value in changed.items():
            settings[key] = settings[key] | value if isinstance(value, dict) else value
        (tmp_path / f'{folder.parent.name}.yaml').write_text(yaml.safe_dump(settings))
    arguments = ['refinement', '--edition', 'sample', '--data-dir', str(sample.root)]
    arguments += ['--profile', str(tmp_path / 'training.yaml'), '--at-once', '2']
    arguments += ['--refinement-profile', str(tmp_path / 'refinement.yaml')]
    arguments += ['--variants', 'refined']
    main(arguments)
    result = read_json(sample.refinement_comparison)
    found = result['metrics']
    for name in ('structure/spearman', 'unseen/spearman'):
        assert found[f'refined/{name}'] > found[f'text/{name}'] + 0.2
    for name in ('heldout_codes/parent_hit_at_1', 'unseen/mrr', 'known_warm/mrr'):
        assert 0 <= found[f'refined/{name}'] <= 1
    page = Path(result['files']['page']['path']).read_text()
    assert '| text embeddings | ' in page
    assert '| refined (centroid, 2 layers) | ' in page

    # Hidden codes were in no graph, and stand in the table of all.
    view = sample.view('heldout_codes')
    run = EditionFolder(view.path, 'lorentz_seed_0')
    hidden = pl.read_parquet(sample.code_splits).filter(pl.col('stratified') == 'heldout')['code']
    refined = EditionFolder(run.path / 'refinements', 'refined_seed_0')
    seen = pl.read_parquet(refined.refined_embeddings)['code']
    placed = pl.read_parquet(embeddings_of(refined, 'placed'))
    assert set(placed['code']) == set(hidden)
    assert not set(seen) & set(hidden)
    whole = pl.read_parquet(refined.path / 'all.parquet')['code'].to_list()
    assert whole == pl.read_parquet(sample.descriptions)['code'].to_list()

    capfd.readouterr()
    main(arguments)
    # Two refinements, and the attaching of one.
    assert capfd.readouterr().err.count('done before') == 3
    assert read_json(sample.refinement_comparison)['metrics'] == found
