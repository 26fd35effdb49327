"""Going on with a fit that was cut off: from which checkpoint, and whether it is the same fit.

While a fit runs, `checkpoints/unfinished.json` beside its checkpoints says which fit they are of.
It is written when the fit starts, removed when its result is there, and left by a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from naics_model.errors import DataError
from naics_model.jobs.lightning import flat
from naics_model.jobs.reporting import Reporter, is_rank_zero
from naics_model.storage.files import read_json, sha256_of, write_json

_MARKER = 'unfinished.json'
_LAST = 'last.ckpt'


def require_checkpoint(ckpt_path: str | None) -> None:
    """Check that a checkpoint which was named is there, before anything is loaded for it.

    Raises:
        DataError: it is not.
    """
    if ckpt_path not in (None, 'last', 'unfinished') and not Path(ckpt_path).is_file():
        raise DataError(
            f'--ckpt_path {ckpt_path} does not exist: give a file, `last` or `unfinished`.'
        )


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
        self._folder = run_dir / 'checkpoints'
        self._resumes = False
        self.identity: dict[str, dict[str, Any]] = {
            'settings': dict(settings),
            'inputs': {
                name: sha256_of(path) if path is not None else None for name, path in inputs.items()
            },
        }

    def checkpoint(self, ckpt_path: str | None, reporter: Reporter) -> Path | None:
        """Return the checkpoint to go on from, or None for a fresh start.

        Only looks: several processes ask, and all have to find the same.

        Args:
            ckpt_path: a file; `last`, the latest of whatever fit is in the folder; `unfinished`,
                the same if it is of this very fit, which was cut off, so that a launcher can give
                it on every try.
            reporter: is told which it is, and why.
        """
        found = self._found(ckpt_path, reporter)
        self._resumes = found is not None
        return found

    def _found(self, ckpt_path: str | None, reporter: Reporter) -> Path | None:
        last = self._folder / _LAST
        if ckpt_path is None:
            return None
        if ckpt_path not in ('last', 'unfinished'):
            return Path(ckpt_path)
        if ckpt_path == 'unfinished':
            marker = self._folder / _MARKER
            if not marker.is_file():
                return None
            if other := self._difference(read_json(marker)):
                reporter.log(f'starting afresh: the fit that was cut off here had {other}')
                return None
        if not last.is_file():
            reporter.log('starting afresh: no epoch was finished before')
            return None
        reporter.log(f'going on from {last}')
        return last

    def _difference(self, marked: Any) -> str:
        """Return in words in what the marked fit differs from this one; empty if it is this one."""
        for kind in ('inputs', 'settings'):
            then, now = flat(marked.get(kind, {})), flat(self.identity[kind])
            odd = sorted(name for name in then | now if then.get(name) != now.get(name))
            if odd:
                others = f' and {len(odd) - 1} more' if len(odd) > 1 else ''
                return f'other {kind}: {odd[0]}{others}'
        return ''

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Mark the folder; before a fresh start remove the checkpoints of another fit.

        Lightning lets no process come here before all have asked for the checkpoint.
        """
        if not is_rank_zero():
            return
        if not self._resumes:
            for old in self._folder.glob('*.ckpt'):
                old.unlink()
        write_json(self.identity, self._folder / _MARKER)

    def finished(self) -> None:
        """Take the mark away: the result is written."""
        if is_rank_zero():
            (self._folder / _MARKER).unlink(missing_ok=True)
