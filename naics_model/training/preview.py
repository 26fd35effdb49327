"""What a fit of the text model would be, in words, with what it would cost."""

from __future__ import annotations

from collections.abc import Mapping

from jsonargparse import Namespace

from naics_model.curriculum.sadc import in_words
from naics_model.curriculum.stage import Stage
from naics_model.jobs.preview import cost_in_words, time_step
from naics_model.jobs.ranks import ranks_of
from naics_model.training.data import StepDataModule
from naics_model.training.module import TextModule


def preview(ready: Namespace, data: StepDataModule, stage: Stage) -> dict[str, str]:
    """Return what would be trained, from what, and what it would cost, by label.

    Args:
        ready: the command's settings, with the model; three steps train it.
        data: of the fit.
        stage: what it trains on.
    """
    module: TextModule = ready.model
    size, trainer = ready.data, ready.trainer
    processes = ranks_of(trainer.devices)
    steps, epochs, shards = size.steps_per_epoch, trainer.max_epochs, size.shards or processes
    weights = list(module.embedder.parameters())
    trained = sum(weight.numel() for weight in weights if weight.requires_grad)
    module.bind(data.sampler.index, stage)
    seconds = time_step(trainer, module, processes, datamodule=data)
    sampler = data.sampler
    phrases = data.phrases
    times = f', in each of {shards} shards' if shards > 1 else ''
    whole = sum(weight.numel() for weight in weights)
    several = 'es' if processes > 1 else ''
    return {
        'stage': f'{stage.name}, {len(sampler.pairs):,} pairs of {len(data.cache):,} codes',
        'phrases': f'{len(phrases.entries):,} index entries and {len(phrases.others):,} others; '
        f'{in_words(module.negatives)}',
        'items': f'{stage.k_negatives} negatives each; by hardness asked for '
        f'{_shares(sampler.requested_mix)}, to be had {_shares(sampler.expected_mix)}',
        'step': f'{size.phrases_per_step} phrases, {size.documents_per_step} documents and '
        f'{size.items_per_step} items of codes{times}',
        'model': f'{module.embedder.settings["backbone"]}, {trained / 1e6:.1f} of '
        f'{whole / 1e6:.1f} million weights are trained',
        'start': 'a new model' if module.init_from is None else 'the model of --model.init_from',
        'fit': f'{epochs} epochs of {steps} steps, {processes} process{several} '
        f'({trainer.accelerator}, {trainer.precision})',
        'cost': cost_in_words(
            seconds,
            epochs=epochs,
            steps=steps * shards // processes,
            validation=-(-size.val_phrases // size.phrases_per_step) // processes,
            processes=processes,
        ),
        'into': str(ready.run_dir),
    }


def _shares(mix: Mapping[int, float]) -> str:
    return ', '.join(f'{level}: {100 * share:.0f} %' for level, share in mix.items() if share > 0)
