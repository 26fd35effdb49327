"""What a fit of the text model would be, in words, with what it would cost."""

from __future__ import annotations

from collections.abc import Mapping

from jsonargparse import Namespace

from naics_model.curriculum.sadc import in_words
from naics_model.curriculum.stage import Stage
from naics_model.jobs.preview import cost_in_words, time_step
from naics_model.jobs.ranks import ranks_of
from naics_model.training.data import TripletDataModule
from naics_model.training.module import TripletModule


def preview(ready: Namespace, data: TripletDataModule, stage: Stage) -> dict[str, str]:
    """Return what would be trained, from what, and what it would cost, by label.

    Args:
        ready: the command's settings, with the model; three steps train it.
        data: of the fit.
        stage: what it trains on.
    """
    module: TripletModule = ready.model
    size, trainer = ready.data, ready.trainer
    processes = ranks_of(trainer.devices)
    steps, epochs, shards = size.steps_per_epoch, trainer.max_epochs, size.shards or processes
    weights = list(module.embedder.parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    module.choose_negatives(data.sampler.index, stage, data.cache)
    if data.asks_queries:
        module.remember_codes(len(data.cache))
    seconds = time_step(trainer, module, processes, datamodule=data)
    sampler = data.sampler
    queries = f' and up to {size.queries_per_step} queries' if data.asks_queries else ''
    times = f', in each of {shards} shards' if shards > 1 else ''
    whole = sum(weight.numel() for weight in weights)
    several = 'es' if processes > 1 else ''
    return {
        'stage': f'{stage.name}, {len(sampler.pairs):,} pairs of {len(data.cache):,} codes',
        'items': f'{stage.k_negatives} negatives each, {in_words(module.negatives)}; by hardness '
        f'asked for {_shares(sampler.requested_mix)}, to be had {_shares(sampler.expected_mix)}',
        'step': f'{size.items_per_step} items{queries} of {size.pool_size} codes{times}',
        'model': f'{module.embedder.settings["backbone"]}, {trained / 1e6:.1f} of '
        f'{whole / 1e6:.1f} million weights are trained',
        'start': 'a new model' if module.untrained else 'the model of --model.init_from',
        'fit': f'{epochs} epochs of {steps} steps, {processes} process{several} '
        f'({trainer.accelerator}, {trainer.precision})',
        'cost': cost_in_words(
            seconds,
            epochs=epochs,
            steps=steps * shards // processes,
            validation=size.val_steps * shards // processes,
            processes=processes,
        ),
        'into': str(ready.run_dir),
    }


def _shares(mix: Mapping[int, float]) -> str:
    return ', '.join(f'{level}: {100 * share:.0f} %' for level, share in mix.items() if share > 0)
