"""What docs/clusters.md tells operators to write is read by those who would have to read it.

The blocks of the document itself are tested, so that it cannot say anything else. Those for several
machines are run in `naics_model/training/test_several_machines.py`.
"""

from __future__ import annotations

import copy
import datetime
import importlib.metadata
import logging
import re
import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster._daemon.monitoring import concurrency
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import construct_dagster_k8s_job
from kubernetes.client import ApiClient

from naics_assets.definitions import defs
from naics_assets.lib.launcher import JobLauncher

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / 'docs' / 'clusters.md').read_text(encoding='utf-8')


def block(language: str, mark: str) -> str:
    """Return the one fenced block of a language in which a mark stands, each command a line."""
    blocks = re.findall(rf'^```{language}\n(.*?)^```$', DOCUMENT, re.MULTILINE | re.DOTALL)
    [found] = [text for text in blocks if mark in text]
    return str(found).replace('\\\n', '')


def settings() -> Any:
    """The instance's settings: the document's in the place of those of the same name."""
    local = yaml.safe_load((ROOT / 'dagster_home' / 'dagster.yaml').read_text(encoding='utf-8'))
    return {**local, **yaml.safe_load(block('yaml', 'K8sRunLauncher'))}


def read_by_dagster(written: Any, folder: Path) -> Any:
    (folder / 'dagster.yaml').write_text(yaml.safe_dump(written))
    read, _ = dagster_instance_config(str(folder))
    return read


def kubernetes_job(config: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the manifest that a run launcher of this configuration would submit for a run."""
    read = process_config(K8sRunLauncher.config_type(), config)
    if not read.success:
        raise ValueError([error.message for error in read.errors])
    monkeypatch.setattr('dagster_k8s.launcher.load_kubernetes_config', lambda **_: None)
    for name in config['env_vars']:
        monkeypatch.setenv(name, 'as the daemon has it')
    launcher = K8sRunLauncher(**read.value)
    run = dg.DagsterRun(job_name='full_edition')
    context = launcher.get_container_context_for_run(run)
    job = construct_dagster_k8s_job(
        context.get_k8s_job_config(job_image=None, run_launcher=launcher),
        args=['dagster', 'api', 'execute_run'],
        job_name='dagster-run',
        user_defined_k8s_config=context.run_k8s_config,
    )
    return ApiClient().sanitize_for_serialization(job)


def test_dagster_reads_the_instance_s_settings(tmp_path: Path) -> None:
    read = read_by_dagster(settings(), tmp_path)
    assert read['storage']['postgres']['postgres_db']['hostname'] == {'env': 'DAGSTER_PG_HOST'}
    assert read['run_retries']['retry_on_asset_or_op_failure'] is False
    wrong = settings()
    wrong['run_monitoring']['free_slots_after_run_end_second'] = 60
    with pytest.raises(dg.DagsterInvalidConfigError, match='free_slots_after_run_end_second'):
        read_by_dagster(wrong, tmp_path)


def test_the_release_named_is_the_one_that_is_tested() -> None:
    for package in ('dagster', 'dagster-k8s'):
        assert importlib.metadata.version(package) in DOCUMENT


def test_a_run_s_pod_has_gpus_shared_memory_and_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    job = kubernetes_job(settings()['run_launcher']['config'], monkeypatch)
    pod = job['spec']['template']['spec']
    [container] = pod['containers']
    environment = {variable['name']: variable.get('value') for variable in container['env']}
    limits = container['resources']['limits']
    assert environment['NAICS_PROCESSES'] == limits['nvidia.com/gpu'] == '4'
    assert environment['DAGSTER_PG_HOST'] == 'as the daemon has it'
    mounts = {mount['mountPath']: mount['name'] for mount in container['volumeMounts']}
    volumes = {volume['name']: volume for volume in pod['volumes']}
    assert set(mounts.values()) <= set(volumes)
    assert volumes[mounts['/dev/shm']]['emptyDir'] == {'medium': 'Memory', 'sizeLimit': '16Gi'}
    assert 'persistentVolumeClaim' in volumes[mounts[environment['NAICS_DATA_DIR']]]
    # A lost pod is Dagster's to replace, not Kubernetes', which would not know of checkpoints.
    assert (job['spec']['backoffLimit'], pod['restartPolicy']) == (0, 'Never')


@pytest.mark.parametrize(
    ('place', 'sentence'),
    [
        ((), 'misspelt'),
        (('run_k8s_config',), 'misspelt'),
        (('run_k8s_config', 'container_config'), 'V1Container.*misspelt'),
        (('run_k8s_config', 'container_config', 'env', 0), 'V1EnvVar.*misspelt'),
        (('run_k8s_config', 'container_config', 'resources'), 'V1ResourceRequirements.*misspelt'),
        (('run_k8s_config', 'container_config', 'volume_mounts', 0), 'V1VolumeMount.*misspelt'),
        (('run_k8s_config', 'pod_spec_config'), 'V1PodSpec.*misspelt'),
        (('run_k8s_config', 'pod_spec_config', 'volumes', 1, 'empty_dir'), 'V1EmptyDir.*misspelt'),
    ],
)
def test_a_misspelt_key_would_be_refused(
    place: tuple[str | int, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = copy.deepcopy(settings()['run_launcher']['config'])
    part = wrong
    for step in place:
        part = part[step]
    part['misspelt'] = 'value'
    # dagster-k8s raises plain exceptions.
    with pytest.raises(Exception, match=sentence):
        kubernetes_job(wrong, monkeypatch)


def test_the_next_try_gets_the_pool_s_slot_of_a_run_that_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.job
    def lost() -> None: ...

    kept = {name: settings()[name] for name in ('run_monitoring', 'concurrency')}
    with dg.DagsterInstance.local_temp(str(tmp_path), overrides=kept) as instance:
        run = instance.create_run_for_job(lost)
        slots = instance.event_log_storage
        slots.initialize_concurrency_limit_to_default('gpu')
        assert slots.claim_concurrency_slot('gpu', run.run_id, 'stage_1_easy').is_claimed
        instance.report_run_failed(run, 'its pod is gone')
        assert not slots.claim_concurrency_slot('gpu', 'the next', 'stage_1_easy').is_claimed
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
            seconds=2 * kept['run_monitoring']['free_slots_after_run_end_seconds']
        )
        monkeypatch.setattr(concurrency, 'get_current_datetime', lambda: later)
        daemon = concurrency.execute_concurrency_slots_iteration(
            SimpleNamespace(instance=instance),  # type: ignore[arg-type]
            logging.getLogger(__name__),
        )
        assert not any(daemon)
        assert slots.claim_concurrency_slot('gpu', 'the next', 'stage_1_easy').is_claimed


def test_a_run_goes_on_with_the_stage_that_was_cut_off() -> None:
    words = shlex.split(block('sh', 'dagster asset materialize'))
    selection = dg.AssetSelection.from_string(words[words.index('--select') + 1])
    selected = {key.to_user_string() for key in selection.resolve(defs().resolve_asset_graph())}
    assert {'stage_2_medium', 'stage_3_hard', 'evaluation_report'} < selected
    assert not {'stage_1_easy', 'triplets', 'bi_encoder'} & selected


def test_the_encoder_that_is_fetched_is_that_of_the_profile_gpu() -> None:
    words = shlex.split(block('sh', 'HF_HOME'))
    assert words[words.index('--backbone') + 1] == JobLauncher(profile='gpu').backbone()
