"""The resource that owns the paths: assets, the trainer and people read the same files."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from naics_model.storage.layout import EditionFolder


class NaicsPaths(dg.ConfigurableResource):
    """Where the data folder is, and where workbooks come from.

    Attributes:
        data_dir: the data folder; `<data_dir>/<edition>/<layer>/<file>`.
        source_dir: a folder of workbooks laid out as `<edition>/<file>`, read in place of the
            network; empty for the network.
    """

    data_dir: str
    source_dir: str = ''

    def edition(self, name: str) -> EditionFolder:
        """Return the folder of an edition, which is also its partition key."""
        return EditionFolder(self.root, name)

    @property
    def root(self) -> Path:
        return Path(self.data_dir).absolute()

    @property
    def source(self) -> Path | None:
        return Path(self.source_dir).absolute() if self.source_dir else None
