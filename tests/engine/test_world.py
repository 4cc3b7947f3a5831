"""Which process this is, from what launchers leave in the environment."""

from __future__ import annotations

import pytest
import torch

from seatools.engine.world import SINGLE, Place, World, first_host, is_lost, join_world, place_in
from seatools.streams.errors import SeaError, UsageError

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "host", "MASTER_PORT": "29500"}
SLURM = {
    "SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_NODELIST": "gpu[007-008]",
}  # fmt: skip


def test_torchrun_and_slurm_are_understood_and_torchrun_goes_first() -> None:
    assert place_in({}) is None
    assert place_in(TORCHRUN) == Place(3, 4, 1, "host", 29500)
    assert place_in(SLURM) == Place(5, 8, 1, "gpu007", 61440 + 1234567 % 4096)
    assert place_in(SLURM | {"MASTER_ADDR": "h", "MASTER_PORT": "7"}) == Place(5, 8, 1, "h", 7)
    assert place_in(SLURM | TORCHRUN) == Place(3, 4, 1, "host", 29500)
    assert place_in({"RANK": "0", "WORLD_SIZE": "1"}) == Place(0, 1, 0, "localhost", 0)


def test_a_batch_script_is_no_step_and_so_one_process() -> None:
    assert place_in({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "5", "SLURM_LOCALID": "0"}) is None


@pytest.mark.parametrize("missing", TORCHRUN)
def test_half_set_variables_are_refused_by_name(missing: str) -> None:
    environ = {key: value for key, value in TORCHRUN.items() if key != missing}
    with pytest.raises(UsageError, match=f"{missing} is not set") as caught:
        place_in(environ)
    assert "--nproc" in str(caught.value.fix)


@pytest.mark.parametrize("missing", ["SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_STEP_NODELIST"])
def test_a_slurm_step_with_half_its_variables_is_refused_by_name(missing: str) -> None:
    with pytest.raises(UsageError, match=f"{missing} is not set"):
        place_in({key: value for key, value in SLURM.items() if key != missing})


@pytest.mark.parametrize(
    ("change", "what"),
    [({"RANK": "4"}, "rank 4 of 4"), ({"RANK": "-1"}, "'-1'"), ({"WORLD_SIZE": "x"}, "'x'"), ({"RANK": ""}, "RANK")],
)
def test_wrong_numbers_are_refused(change: dict[str, str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        place_in(TORCHRUN | change)


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu1", "gpu1"), ("a,b", "a"), ("gpu[007-010,12],login", "gpu007"), ("n[3,5-6]", "n3"), ("a,n[1-2]", "a"),
        ("rack[1-2].example.org", "rack1.example.org"),
    ],
)  # fmt: skip
def test_the_first_host_of_slurms_lists(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_alone_there_is_a_device_and_nobody_to_wait_for() -> None:
    world = join_world("cpu", {})
    assert world == World(0, 1, 0, torch.device("cpu")) and world.is_main
    assert join_world("cpu", {"RANK": "0", "WORLD_SIZE": "1"}) == world
    assert SINGLE.agree(True, False) == (True, False) and not SINGLE.any(False)
    tensor = torch.tensor([1.0, 2.0])
    assert SINGLE.sum(tensor) is tensor and tensor.tolist() == [1.0, 2.0]
    SINGLE.barrier()
    SINGLE.leave()


def test_several_processes_do_not_share_a_named_gpu() -> None:
    with pytest.raises(UsageError, match="cuda:1 with 4 processes"):
        join_world("cuda:1", TORCHRUN)


def test_a_rank_0_that_is_not_there_is_an_error_with_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import timedelta

    monkeypatch.setattr("seatools.engine.world.PATIENCE", timedelta(seconds=1))
    with pytest.raises(SeaError, match="rank 3 of 4 cannot join") as caught:
        join_world("cpu", TORCHRUN | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"})
    assert caught.value.where == "127.0.0.1:1"


def test_the_words_of_the_lowest_rank_that_has_some_are_everybodys(monkeypatch: pytest.MonkeyPatch) -> None:
    def gather(found: list[object], value: object) -> None:
        found[:] = [None, "second", value]

    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    assert World(2, 3, 2, None).first("third") == "second"
    assert SINGLE.first("alone") == "alone" and SINGLE.first(None) is None


def test_the_end_of_another_process_is_told_from_a_defect_of_ours() -> None:
    said = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Read error [127.0.0.1]:4021: Connection reset"
    assert is_lost(RuntimeError(said)) and is_lost(torch.distributed.DistNetworkError("closed"))
    assert not is_lost(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
