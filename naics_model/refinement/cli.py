"""The refinement command: text embeddings in, refined embeddings out.

python -m naics_model.refinement --config smoke|cpu|gpu|PATH --embeddings F --descriptions F
--phrases F --encoder DIR --queries F --out F --run_dir DIR
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace
from scipy.stats import spearmanr
from torch.utils.data import DataLoader

from naics_model.encoder.pretrained import WEIGHTS_FILE
from naics_model.encoder.table import embedding_table
from naics_model.jobs.checkpoints import best_checkpoint
from naics_model.jobs.command import flat, parse, profile_name
from naics_model.jobs.lightning import (
    EpochReport,
    add_trainer_options,
    check_placement,
    job_parser,
    make_trainer,
    watched_in_terminal,
    within_steps,
)
from naics_model.jobs.preview import cost_in_words, show, time_step
from naics_model.jobs.ranks import become_ranks, ranks_of
from naics_model.jobs.reporting import JobResult, Reporter, open_reporter
from naics_model.jobs.resume import Attempt, deciding, require_checkpoint
from naics_model.jobs.tracking import choose_logger, tell_checkpoints
from naics_model.refinement.inputs import Files, Inputs, read_inputs
from naics_model.refinement.module import RefinementModule, RefinementSettings
from naics_model.storage.files import write_parquet

PROFILES = Path(__file__).parent / 'profiles'


def build_parser() -> ArgumentParser:
    """Return the parser; every setting of the YAML profiles is an option of the same name."""
    parser = job_parser(
        'python -m naics_model.refinement', 'Refine the text embeddings of all codes by the tree.'
    )
    parser.add_argument(
        '--embeddings', type=Path, required=True, help='text_embeddings.parquet: where to start.'
    )
    parser.add_argument(
        '--descriptions', type=Path, required=True, help='descriptions.parquet of the edition.'
    )
    parser.add_argument(
        '--phrases',
        type=Path | None,
        help='phrases.parquet, whose train phrases shall find their codes; without it codes are '
        'moved by the tree alone.',
    )
    parser.add_argument(
        '--encoder',
        type=Path | None,
        help='Exported model that made the embeddings, for the phrases.',
    )
    parser.add_argument(
        '--queries',
        type=Path | None,
        help='File that keeps what the encoder makes of the phrases; it may not be there yet.',
    )
    parser.add_argument(
        '--out', type=Path, required=True, help='Where refined_embeddings.parquet goes.'
    )
    parser.add_argument('--steps_per_epoch', type=int, default=50, help='Optimiser steps.')
    parser.add_class_arguments(RefinementSettings, 'model')
    add_trainer_options(parser)
    return parser


def refine(arguments: Sequence[str]) -> None:
    """Parse the command line and run the job.

    Raises:
        NaicsError: a setting or an input is not usable.
    """
    parser = build_parser()
    config = parse(parser, arguments, PROFILES)
    check_placement(config.trainer)
    require_checkpoint(config.ckpt_path)
    config.trainer.max_epochs, config.steps_per_epoch = within_steps(
        config.max_steps, config.trainer.max_epochs, config.steps_per_epoch
    )
    files = Files(
        config.embeddings, config.descriptions, config.phrases, config.encoder, config.queries
    )
    if config.dry_run:
        inputs = read_inputs(files, print, encode=False)
        show(_preview(parser.instantiate(config), inputs))
        return
    become_ranks(config.trainer.devices, 'naics_model.refinement', arguments)
    with open_reporter(config.run_dir / 'result.json') as reporter:
        inputs = read_inputs(files, reporter.log)
        _run(parser.instantiate(config), config, inputs, files, reporter)


def _module(ready: Namespace, inputs: Inputs) -> RefinementModule:
    return RefinementModule(
        torch.from_numpy(np.array(inputs.embeddings.tangent)),
        inputs.taxonomy,
        inputs.excluded,
        inputs.queries,
        curvature=inputs.embeddings.curvature,
        settings=ready.model,
        seed=ready.seed,
    )


def _counting(steps: int) -> DataLoader[int]:
    """Return a loader that only counts: a step draws its codes itself."""
    return DataLoader(range(steps), batch_size=None)  # type: ignore[arg-type]


def _run(
    ready: Namespace,
    config: Namespace,
    inputs: Inputs,
    files: Files,
    reporter: Reporter,
) -> None:
    """Fit, write the embeddings of the best checkpoint, and report."""
    settings: RefinementSettings = ready.model
    module = _module(ready, inputs)
    report = EpochReport(reporter, lines=not watched_in_terminal())
    asked = {
        'model': asdict(settings),
        'seed': ready.seed,
        'steps_per_epoch': ready.steps_per_epoch,
        'trainer': deciding(config.trainer.as_dict(), ranks_of(config.trainer.devices)),
    }
    # The queries are of the encoder and the phrases, and hold others' beside them.
    encoder = files.encoder / WEIGHTS_FILE if files.encoder else None
    attempt = Attempt(ready.run_dir, asked, {**asdict(files), 'encoder': encoder, 'queries': None})
    trainer = make_trainer(
        ready.trainer,
        run_dir=ready.run_dir,
        logger=choose_logger(reporter, ready.run_dir, flat(asked)),
        keep_best=ready.keep_best,
        callbacks=[attempt, report],
    )
    checkpoint = attempt.checkpoint(ready.ckpt_path, reporter)
    trainer.fit(module, _counting(ready.steps_per_epoch), _counting(1), ckpt_path=checkpoint)

    best, best_loss = best_checkpoint(trainer)
    module.load_trainable(best)
    with torch.no_grad():
        refined = module.cpu().eval()()
    if trainer.is_global_zero:
        before = inputs.embeddings
        table = embedding_table(inputs.descriptions, refined, before.curvature, before.unit)
        write_parquet(table, ready.out)
    result = JobResult(
        metrics={
            'best_val_loss': best_loss,
            **{name.replace('/', '_'): value for name, value in report.history[-1].items()},
            'spearman_before': tree_correlation(module, module.network.text),
            'spearman_after': tree_correlation(module, refined),
        },
        files={'checkpoint': best, 'embeddings': ready.out},
        details={
            'profile': profile_name(ready),
            'codes': len(refined),
            'phrases': len(inputs.queries.owner),
            'steps': trainer.global_step,
            'history': report.history,
            'settings': asdict(settings),
            'seed': ready.seed,
            'resumed': checkpoint is not None,
        },
    )
    reporter.finish(result)
    tell_checkpoints(trainer, best, None, reporter)
    attempt.finished()


def _preview(ready: Namespace, inputs: Inputs) -> dict[str, str]:
    """Return what would be refined, and what it would cost."""
    module, trainer = _module(ready, inputs), ready.trainer
    steps, epochs = ready.steps_per_epoch, trainer.max_epochs
    loaders = {'train_dataloaders': _counting(steps), 'val_dataloaders': _counting(1)}
    seconds = time_step(trainer, module, 1, **loaders)
    return {
        'codes': f'{len(inputs.taxonomy):,}, with the edges of their tree',
        'asked': f'{len(inputs.queries.owner):,} phrases',
        'network': f'{ready.model.layers} layers; {ready.model.codes_per_step} codes are compared '
        f'in a step, and {ready.model.queries_per_step} phrases asked',
        'fit': f'{epochs} epochs of {steps} steps ({trainer.accelerator}, {trainer.precision})',
        'cost': cost_in_words(seconds, epochs=epochs, steps=steps, validation=1, processes=1),
        'into': str(ready.run_dir),
    }


def tree_correlation(module: RefinementModule, tangent: torch.Tensor) -> float:
    """Return Spearman's correlation of embedding distance and tree distance over all pairs of
    codes.

    A cheap figure to see what refinement did; the evaluation room measures the rest.
    """
    upper = np.triu_indices(len(tangent), k=1)
    distances = module.distances(tangent).detach().numpy()[upper]
    return float(spearmanr(distances, module.tree.numpy()[upper]).statistic)
