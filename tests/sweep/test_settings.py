"""What `hydra.launcher` may say."""

import pytest
from omegaconf import OmegaConf

from lalm_bench.errors import ConfigError
from lalm_bench.sweep.settings import Settings
from tests.conftest import ROOT


def test_the_shipped_profile_is_the_default():
    shipped = OmegaConf.load(ROOT / "launchers/hydra/launcher/slurm.yaml")
    values = {k: v for k, v in OmegaConf.to_container(shipped).items() if k != "_target_"}
    assert values == Settings().json()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"cpus_per_task": 0}, "cpus_per_task=0 must be a positive whole number"),
        ({"timeout_min": 1.5}, "timeout_min=1.5"),
        ({"gpus_per_node": True}, "gpus_per_node=True"),
        ({"mem_gb": -1}, "mem_gb=-1"),
        ({"pack": "all"}, "must be none or by_model"),
        ({"jobs": 3}, "needs hydra.launcher.pack=by_model"),
        ({"setup": "module load x"}, "must be a list of texts"),
        ({"env": {"HF_TOKEN": "x"}}, "env.HF_TOKEN looks like a secret"),
        ({"partitions": "gpu"}, "partitions: no such setting"),
        ({"poll_s": 0}, "poll_s=0"),
    ],
)
def test_wrong_settings_are_named(values, said):
    with pytest.raises(ConfigError, match=said.replace("(", "\\(")):
        Settings.of(values)


@pytest.mark.parametrize(("minutes", "seconds"), [(1, 15), (2, 30), (8, 120), (720, 120)])
def test_short_limits_leave_time_to_work(minutes, seconds):
    assert Settings(timeout_min=minutes).delay_s == seconds
    assert Settings(timeout_min=minutes, signal_delay_s=9).delay_s == 9


def test_what_submitit_is_told():
    settings = Settings(
        modules=["cuda/12; rm x"], env={"A": "b c"}, setup=["ulimit -n 9"], mem_gb=0.5, account="me"
    )
    told = settings.executor_parameters("name")
    assert told["setup"] == [
        "module load 'cuda/12; rm x' || exit 1",
        "export A='b c'",
        "ulimit -n 9",
    ]
    assert (told["mem"], told["time"], told["account"]) == ("512MB", 720, "me")
    assert "partition" not in told
    assert told["additional_parameters"]["requeue"] is True
