"""The edition watch: looks daily whether the Census Bureau has published something new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import dagster as dg
from pydantic import TypeAdapter, ValidationError

from naics_assets.lib.paths import NaicsPaths
from naics_model.corpus.editions import Edition, load_editions
from naics_model.corpus.watch import Answer, appeared, asking, look

RUNBOOK = 'docs/edition_runbook.md'
_DAY = 24 * 3600
# edition -> workbook -> what was answered, of those that answer otherwise than when they were
# fetched, so that they are not read again each day.
_CURSOR = TypeAdapter(dict[str, dict[str, Answer]])


@dg.sensor(
    target=dg.AssetSelection.groups('source'),
    minimum_interval_seconds=_DAY,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description='Asks daily whether a workbook of an edition that has been built is published with '
    'other bytes, and fetches it if so; what is made from it is for the automation conditions. '
    f'Warns when the next edition appears ({RUNBOOK}).',
)
def edition_watch(context: dg.SensorEvaluationContext, paths: NaicsPaths) -> dg.SensorResult:
    before = _read_cursor(context)
    requests: list[dg.RunRequest] = []
    said: list[str] = []
    answers: dict[str, dict[str, Answer]] = {}
    with asking() as web:
        for edition in _built_editions(context.instance):
            found = look(
                edition,
                paths.edition(edition.name).source,
                web,
                source_dir=paths.source,
                before=before.get(edition.name),
            )
            said += found.unanswered
            if found.answers:
                answers[edition.name] = dict(found.answers)
            if found.changed:
                requests.append(_request(edition.name, found.changed))
                context.log.info(
                    f'Edition {edition.name} has new bytes: {", ".join(found.changed)}.'
                )
        editions, unanswered = appeared(web, paths.source)
    said += unanswered
    said += [
        f'Edition {name} has appeared ({", ".join(places)}): {RUNBOOK} says how to add it.'
        for name, places in editions.items()
    ]
    for sentence in said:
        context.log.warning(sentence)
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else ' '.join(['No workbook has new bytes.', *said]),
        cursor=_CURSOR.dump_json(answers).decode(),
    )


def _built_editions(instance: dg.DagsterInstance) -> Iterator[Edition]:
    """Yield the editions that someone has built here, but not the bundled one, which stays."""
    built = instance.get_materialized_partitions(dg.AssetKey('codes_workbook'))
    for edition in load_editions().values():
        if edition.name in built and not edition.packaged:
            yield edition


def _request(edition: str, changed: Mapping[str, str]) -> dg.RunRequest:
    """Return the run that fetches what has changed; the same bytes are asked for only once."""
    return dg.RunRequest(
        run_key=f'{edition}:{"+".join(changed.values())}',
        partition_key=edition,
        asset_selection=[dg.AssetKey(f'{workbook}_workbook') for workbook in changed],
    )


def _read_cursor(context: dg.SensorEvaluationContext) -> dict[str, dict[str, Answer]]:
    try:
        return _CURSOR.validate_json(context.cursor or '{}')
    except ValidationError:
        # Of another release, or edited: everything is read once more.
        context.log.warning('The cursor is not one of this sensor, and is begun anew.')
        return {}
