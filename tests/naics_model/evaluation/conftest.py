"""Two small taxonomies: seven codes for working by hand, a few hundred for oracles."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from naics_model.taxonomy.tree import Taxonomy

# Seven codes on a line, so that each distance is a difference that a reader can check:
#
#     112    11   111  1111 1112    211      21
#     -2     0    1    2.5  3       4.5      7
SEVEN = {
    '11': 0.0,
    '111': 1.0,
    '1111': 2.5,
    '1112': 3.0,
    '112': -2.0,
    '21': 7.0,
    '211': 4.5,
}


@pytest.fixture
def seven() -> tuple[Taxonomy, NDArray[np.float64], list[str]]:
    """The seven codes, their distances on the line, and titles (1111 repeats its parent's)."""
    place = np.array(list(SEVEN.values()))
    titles = ['Farming', 'Crops', 'crops ', 'Greenhouses', 'Animals', 'Mining', 'Oil']
    return Taxonomy.from_codes(list(SEVEN)), np.abs(place[:, None] - place[None, :]), titles


@pytest.fixture(scope='session')
def bushy() -> Taxonomy:
    """Four sectors, 280 codes; every code has two or three children, but for some only ones."""
    codes = []
    for sector in ('11', '31', '44', '54'):
        codes.append(sector)
        for a in '123':
            codes.append(sector + a)
            for b in '12':
                codes.append(sector + a + b)
                for c in '123':
                    codes.append(sector + a + b + c)
                    codes += [sector + a + b + c + d for d in ('0' if c == '3' else '123')]
    return Taxonomy.from_codes(codes)
