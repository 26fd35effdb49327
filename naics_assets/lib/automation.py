"""When an asset is made again without being asked: once what it is made from has other content.

The conditions of declarative automation, one for each group of assets. The sensors that look at
them are in `defs/automation/conditions.py`.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

import dagster as dg

AC = dg.AutomationCondition

DATA_GROUPS = ('corpus', 'taxonomy', 'triplets', 'tokens')
MODEL_GROUPS = ('training', 'refinement', 'evaluation', 'release')

DATA_OF_MODELS = (
    'descriptions',
    'activities',
    'phrases',
    'code_splits',
    'relation_index',
    'token_cache',
)
"""The data that assets of the model groups are made from."""

ON_NEW_CONTENT = (
    AC.eager().replace('newly_updated_without_root', AC.data_version_changed())
    & AC.all_deps_blocking_checks_passed()
).with_label('on_new_content')
"""For data: what the asset is made from has other content, and passed every blocking check.

What depends on the asset is made in the same run. A partition that is missing is made once all that
it is made from has come.
"""

# Not what came of a run that was going to make the dependent, too: if it was cancelled, a person
# wanted it so.
_FROM_ANOTHER_RUN = AC.data_version_changed() & ~AC.executed_with_root_target()

# The gate fails, as a warning, where the text embeddings are to be released in place of the refined
# ones: `model_bundle` is made then, too, and judges for itself.
_GATE = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey('refined_evaluation'), 'gate'))
_CHECKS_PASSED = AC.all_deps_match(
    AC.all_checks_match(AC.check_passed() | AC.will_be_requested(), blocking_only=True)
    .ignore(_GATE)
    .with_label('all_blocking_checks_passed')
).with_label('all_deps_blocking_checks_passed')

# Otherwise embeddings would be made from new tokens by the old model, while the index that the
# model is to be trained on anew is still being built; and once more after it.
_OUT_OF_DATE = AC.any_deps_match(AC.data_version_changed()).since_last_handled()
_DATA_UNSETTLED = reduce(
    or_,
    (
        AC.asset_matches(name, AC.in_progress() | _OUT_OF_DATE.with_label('out_of_date'))
        for name in DATA_OF_MODELS
    ),
).with_label('data_unsettled')

ON_WHOLE_DATA = (
    AC.eager().replace('newly_updated_without_root', _FROM_ANOTHER_RUN)
    & _CHECKS_PASSED
    & ~_DATA_UNSETTLED
    & ~AC.missing()
    & ~AC.execution_failed()
).with_label('on_whole_data')
"""For models: the same, once all data that models read are up to date.

Only where the asset is there already, and its last run was not cut short: an edition that nobody
has trained is not trained by itself, and a fit that failed or was cancelled waits for a person.
"""

# None for the workbooks, which people and the edition watch bring, and for what is opt-in.
CONDITIONS = {
    **dict.fromkeys(DATA_GROUPS, ON_NEW_CONTENT),
    **dict.fromkeys(MODEL_GROUPS, ON_WHOLE_DATA),
}
"""The condition of each group's assets."""
