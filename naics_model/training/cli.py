"""The training command: one curriculum stage, from settings to an exported model.

python -m naics_model.training fit --config smoke|cpu|gpu|PATH --curriculum 02_stage_medium
    --data.relation_index F --data.token_cache F --data.phrases F --run_dir DIR
    [--model.init_from DIR] [--model.lora_r 16 ...]

The parser is LightningCLI's own (jsonargparse); its class is not used because it parses, builds the
model and runs in one constructor, and here the inputs are checked, and the launcher's channel is
opened, before a backbone is loaded.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace
from pytorch_lightning import seed_everything

from naics_model.curriculum.sadc import in_words, schedule
from naics_model.curriculum.stage import Stage, load_stage
from naics_model.encoder.backbones import resolve_backbone
from naics_model.encoder.points import POINTS_FILE
from naics_model.encoder.settings import channel_names
from naics_model.encoder.tokens import TokenCache
from naics_model.errors import ConfigurationError, DataError
from naics_model.jobs.checkpoints import LAST, best_checkpoint
from naics_model.jobs.command import flat, parse, profile_name, require_file
from naics_model.jobs.lightning import (
    EpochReport,
    add_trainer_options,
    check_placement,
    fastest_precision,
    job_parser,
    make_trainer,
    watched_in_terminal,
    within_steps,
)
from naics_model.jobs.preview import show
from naics_model.jobs.ranks import become_ranks, ranks_of
from naics_model.jobs.reporting import JobResult, Reporter, open_reporter
from naics_model.jobs.resume import Attempt, deciding, require_checkpoint
from naics_model.jobs.tracking import choose_logger, tell_checkpoints
from naics_model.training.callbacks import CurriculumWatch
from naics_model.training.data import DataSettings, StepDataModule, require_even_shards
from naics_model.training.module import TextModule
from naics_model.training.phrases import read_phrases
from naics_model.training.preview import preview
from naics_model.triplets.relation_index import RelationIndex

PROFILES = Path(__file__).parent / 'profiles'


def build_parser() -> ArgumentParser:
    """Return the parser; every setting of the YAML profiles is an option of the same name."""
    parser = job_parser(
        'python -m naics_model.training fit',
        'Train the text encoder on one curriculum stage and export it.',
    )
    parser.add_argument(
        '--curriculum',
        type=str,
        required=True,
        help='A stage by name (naics curriculum list shows them), or a YAML file.',
    )
    parser.add_argument(
        '--export',
        type=Literal['best', 'last'],
        default='best',
        help='Which weights become the model: the best by val/loss, or those of the last step.',
    )
    parser.add_class_arguments(DataSettings, 'data')
    parser.add_class_arguments(TextModule, 'model')
    parser.link_arguments('seed', 'model.seed')
    add_trainer_options(parser)
    return parser


def main(arguments: Sequence[str]) -> None:
    """Run `fit` with the rest of the command line.

    Raises:
        NaicsError: a setting or an input is not usable.
    """
    if arguments and arguments[0] == 'fit':
        fit(arguments[1:])
    elif set(arguments) & {'-h', '--help'}:
        build_parser().parse_args(['--help'])
    else:
        raise ConfigurationError(
            'Say what to do: `python -m naics_model.training fit --help` lists the settings.'
        )


def fit(arguments: Sequence[str]) -> None:
    """Train one stage.

    Raises:
        NaicsError: a setting or an input is not usable.
    """
    parser = build_parser()
    config = parse(parser, arguments, PROFILES)
    check_placement(config.trainer)
    if config.trainer.precision is None:
        config.trainer.precision = fastest_precision(config.trainer.accelerator)
    require_checkpoint(config.ckpt_path)
    require_even_shards(config.data.shards, ranks_of(config.trainer.devices))
    config.trainer.max_epochs, config.data.steps_per_epoch = within_steps(
        config.max_steps, config.trainer.max_epochs, config.data.steps_per_epoch
    )
    stage = load_stage(config.curriculum)
    data = prepare_data(config, stage)
    if config.dry_run:
        show(preview(parser.instantiate(config), data, stage))
        return
    become_ranks(config.trainer.devices, 'naics_model.training', ['fit', *arguments])
    with open_reporter(config.run_dir / 'result.json') as reporter:
        seed_everything(config.seed, verbose=False)
        attempt = Attempt(config.run_dir, *identity_of(config, stage, data.shards))
        _run(parser.instantiate(config), data, settings_of(config, stage), attempt, reporter)


def prepare_data(config: Namespace, stage: Stage) -> StepDataModule:
    """Read what a fit needs and refuse what can not work, before a backbone is loaded.

    Raises:
        NaicsError: a file is missing, the stage leaves nothing to draw, or index, cache and model
            do not belong together.
    """
    require_file(config.data.relation_index, '--data.relation_index')
    require_file(config.data.token_cache, '--data.token_cache')
    require_file(config.data.phrases, '--data.phrases')
    if config.model.init_from is not None:
        require_file(config.model.init_from / 'config.json', '--model.init_from')
    index = RelationIndex.load(config.data.relation_index)
    cache = TokenCache.load(config.data.token_cache)
    if len(cache) != len(index):
        raise DataError(
            f'{config.data.token_cache} has {len(cache):,} codes, but {config.data.relation_index} '
            f'has {len(index):,}: they are of different editions.'
        )
    cache.check_backbone(resolve_backbone(config.model.backbone))
    phrases = read_phrases(config.data.phrases, index.codes, config.model.backbone)
    return StepDataModule(
        index,
        cache,
        phrases,
        stage,
        DataSettings(**config.data.as_dict()),
        channels=channel_names(config.model.channels),
        seed=config.seed,
        rank=int(os.environ.get('RANK', '0')),
        world_size=int(os.environ.get('WORLD_SIZE', '1')),
    )


def _run(
    ready: Namespace,
    data: StepDataModule,
    settings: dict[str, Any],
    attempt: Attempt,
    reporter: Reporter,
) -> None:
    """Fit, load the weights that were asked for, export them, and report."""
    module: TextModule = ready.model
    report = EpochReport(reporter, lines=not watched_in_terminal())
    sampler = data.sampler
    requested = sampler.requested_mix
    watch = CurriculumWatch(len(sampler.index), requested, reporter)
    trainer = make_trainer(
        ready.trainer,
        run_dir=ready.run_dir,
        logger=choose_logger(reporter, ready.run_dir, flat(settings)),
        keep_best=ready.keep_best,
        callbacks=[attempt, watch, report],
        batches_per_step=len(data.samplers),
        some_unused=module.leaves_some_unused,
    )
    module.bind(sampler.index, sampler.stage)
    reporter.log(in_words(module.negatives))
    checkpoint = attempt.checkpoint(ready.ckpt_path, reporter)
    if checkpoint is None and module.init_from is None:
        reporter.log(f'new model: placing {len(data.cache):,} codes at their documents')
    module.prepare(data.cache, resumed=checkpoint is not None)
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    # Before another checkpoint is loaded, which may not know yet when phases ended.
    plan = _plan(module)

    exported_from, best_loss = best_checkpoint(trainer)
    if ready.export == 'last':
        exported_from = exported_from.with_name(LAST)
    module.load_trainable(exported_from)
    exported = ready.run_dir / 'model'
    if trainer.is_global_zero:
        module.cpu().export(exported)
    result = JobResult(
        metrics={
            'best_val_loss': best_loss,
            **{name.replace('/', '_'): value for name, value in report.history[-1].items()},
        },
        files={'checkpoint': exported_from, 'model': exported / 'model.safetensors'},
        details={
            'profile': profile_name(ready),
            'curriculum_mix': {
                'requested': {str(k): v for k, v in requested.items()},
                'expected': {str(k): v for k, v in sampler.expected_mix.items()},
                'effective': watch.history[-1],
                'by_epoch': watch.history,
            },
            'negatives_plan': plan,
            'history': report.history,
            'steps': trainer.global_step,
            'negatives': watch.negatives,
            'codes_encoded': watch.codes_encoded,
            'distinct_codes_encoded': watch.distinct_codes,
            'processes': trainer.world_size,
            'resumed': checkpoint is not None,
            'settings': settings,
        },
    )
    reporter.finish(result)
    tell_checkpoints(trainer, exported_from, exported, reporter)
    attempt.finished()


def _plan(module: TextModule) -> list[dict[str, Any]]:
    """Return how negatives were to be chosen from the start to the end of the fit."""
    if module.negatives.strategy == 'uniform':
        return []
    plans = schedule(module.negatives, module.clock.ends)
    return [
        {'progress': point / (len(plans) - 1), **plan._asdict()} for point, plan in enumerate(plans)
    ]


def settings_of(config: Namespace, stage: Stage) -> dict[str, Any]:
    """Return what the fit was asked to do, as JSON values, the stage in full."""
    asked = {
        'curriculum': stage.model_dump(),
        'seed': config.seed,
        'data': config.data.as_dict(),
        'model': config.model.as_dict(),
        'trainer': {k: v for k, v in config.trainer.as_dict().items() if v is not None},
    }
    plain: dict[str, Any] = json.loads(json.dumps(asked, default=str))
    return plain


def identity_of(
    config: Namespace, stage: Stage, shards: int
) -> tuple[dict[str, Any], dict[str, Path | None]]:
    """Return what makes a fit this fit: the settings that decide what comes out, and its inputs."""
    asked = settings_of(config, stage)
    start = config.model.init_from
    files: dict[str, Path | None] = {
        'relation_index': config.data.relation_index,
        'token_cache': config.data.token_cache,
        'phrases': config.data.phrases,
        'init_from': start / 'model.safetensors' if start is not None else None,
        'points': start / POINTS_FILE if start is not None else None,
    }
    asked['data'] = {k: v for k, v in asked['data'].items() if k not in files} | {'shards': shards}
    asked['model'].pop('init_from')
    asked['trainer'] = deciding(config.trainer.as_dict(), ranks_of(config.trainer.devices))
    return asked, files
