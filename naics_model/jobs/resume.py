"""Going on with a fit that was cut off: from which checkpoint, and whether it is the same fit.

Each checkpoint says which fit it is of. While one runs, `checkpoints/unfinished.json` says so and
whose it is; it is removed when the result is there, and left by a crash.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from naics_model.errors import ConfigurationError, DataError
from naics_model.jobs.checkpoints import LAST, read_checkpoint
from naics_model.jobs.command import flat
from naics_model.jobs.processes import is_alive, this_process
from naics_model.jobs.reporting import Reporter, is_rank_zero
from naics_model.storage.files import read_json, sha256_of, write_json
from naics_model.storage.layout import CHECKPOINTS, CUT_OFF, UNFINISHED

_NAMES = ('last', 'unfinished')
# A job whose launcher was killed needs some seconds to notice, and to end.
_WAIT_SECONDS = 60.0

# What does not change what is trained.
_APART = ('devices', 'enable_progress_bar', 'log_every_n_steps')


def require_checkpoint(ckpt_path: str | None) -> None:
    """Check that a checkpoint which was named is there, before anything is loaded for it.

    Raises:
        DataError: it is not.
    """
    if ckpt_path is not None and ckpt_path not in _NAMES and not Path(ckpt_path).is_file():
        raise DataError(
            f'--ckpt_path {ckpt_path} does not exist: give a file, `last` or `unfinished`.'
        )


def deciding(trainer: Mapping[str, Any], processes: int) -> dict[str, Any]:
    """Return those of a trainer's settings that decide what a fit learns, as JSON values."""
    kept = {k: v for k, v in trainer.items() if v is not None and k not in _APART}
    plain: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return plain | {'processes': processes}


class Attempt(Callback):
    """One try at a fit: knows what fit it is, finds where an earlier try stopped, leaves the mark.

    Attributes:
        identity: what has to be equal for checkpoints to be of this fit.
    """

    def __init__(
        self, run_dir: Path, settings: Mapping[str, Any], inputs: Mapping[str, Path | None]
    ) -> None:
        """Args:
        run_dir: the job's folder.
        settings: JSON values that decide what is trained, without paths.
        inputs: files that are read, by name; they count by content.
        """
        self._folder = run_dir / CHECKPOINTS
        self._resumes = False
        self.identity: dict[str, dict[str, Any]] = {
            'settings': dict(settings),
            'inputs': {
                name: sha256_of(path) if path is not None else None for name, path in inputs.items()
            },
        }

    def state_dict(self) -> dict[str, Any]:
        return {'identity': self.identity}

    def checkpoint(self, ckpt_path: str | None, reporter: Reporter) -> Path | None:
        """Return the checkpoint to go on from, or None for a fresh start.

        Only looks: several processes ask, and all have to find the same.

        Args:
            ckpt_path: a file; `last`, the latest of whatever fit is in the folder; `unfinished`,
                the same if it is of this very fit, which was cut off, so that a launcher can give
                it on every try.
            reporter: is told which it is, and why.

        Raises:
            ConfigurationError: another job is training in this folder, and goes on.
        """
        self._wait_for_another(reporter)
        found = self._found(ckpt_path, reporter)
        self._resumes = found is not None
        return found

    def _found(self, ckpt_path: str | None, reporter: Reporter) -> Path | None:
        if ckpt_path is None:
            return None
        if ckpt_path not in _NAMES:
            return Path(ckpt_path)
        last = self._folder / LAST
        cut_off = self._marker.is_file()
        if ckpt_path == 'unfinished' and not cut_off:
            return None
        if not last.is_file():
            reporter.log('starting afresh: no epoch was finished before')
            return None
        if ckpt_path == 'unfinished' and (other := self._difference(last)):
            reporter.log(
                f'starting afresh: the fit that was cut off here had {other}; its checkpoints are '
                f'kept in {self._aside}'
            )
            return None
        reporter.log(f'going on from {last}')
        return last

    @property
    def _marker(self) -> Path:
        return self._folder / UNFINISHED

    @property
    def _aside(self) -> Path:
        return self._folder.with_name(CUT_OFF)

    def _difference(self, path: Path) -> str:
        """Return in words in what a checkpoint's fit differs from this one; empty if it is it."""
        saved = read_checkpoint(path, mmap=True)
        theirs = saved.get('callbacks', {}).get(self.state_key, {}).get('identity', {})
        for kind, ours in self.identity.items():
            then, now = flat(theirs.get(kind, {})), flat(ours)
            odd = sorted(name for name in then | now if then.get(name) != now.get(name))
            if odd:
                others = f' and {len(odd) - 1} more' if len(odd) > 1 else ''
                return f'other {kind}: {odd[0]}{others}'
        return ''

    def _wait_for_another(self, reporter: Reporter) -> None:
        if not self._marker.is_file():
            return
        owner = read_json(self._marker)
        deadline = time.monotonic() + _WAIT_SECONDS
        told = False
        while self._is_of_another(owner):
            if not told:
                reporter.log(f'waiting for process {owner["pid"]}, which trains in {self._folder}')
                told = True
            if time.monotonic() > deadline:
                raise self._taken(owner)
            time.sleep(0.5)

    def _is_of_another(self, owner: dict[str, Any]) -> bool:
        return owner['pid'] != os.getpid() and bool(is_alive(owner))

    def _taken(self, owner: Mapping[str, Any]) -> ConfigurationError:
        return ConfigurationError(
            f'Process {owner["pid"]} is training in {self._folder}: wait until it has ended, or '
            'choose another --run_dir.'
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the folder; before a fresh start clear it of the checkpoints of another fit.

        Those of a fit that was cut off are put aside, for somebody may want to go on with it.
        Lightning lets no process come here before all have asked for the checkpoint.

        Raises:
            ConfigurationError: another job has marked the folder since this one looked, which may
                be a minute ago: a backbone was loaded meanwhile.
        """
        if not is_rank_zero():
            return
        if self._marker.is_file() and self._is_of_another(owner := read_json(self._marker)):
            raise self._taken(owner)
        if not self._resumes:
            if self._marker.is_file() and (self._folder / LAST).is_file():
                shutil.rmtree(self._aside, ignore_errors=True)
                self._folder.rename(self._aside)
            for old in self._folder.glob('*.ckpt'):
                old.unlink()
        write_json(this_process(), self._marker)

    def finished(self) -> None:
        """Take the mark away: the result is written."""
        if is_rank_zero():
            self._marker.unlink(missing_ok=True)
