"""A real SLURM of two nodes on this machine, for the time of a block."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=100
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0,defer_batch
SlurmdParameters=config_overrides
KillWait=5
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={n1} CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={n2} CPUs=2 RealMemory=1000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""

_TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "salloc", "srun", "sinfo")


@contextmanager
def two_nodes(folder: Path) -> Iterator[None]:
    """Every command of SLURM finds it by SLURM_CONF; skips where it cannot be started.

    folder: an empty one, of keys, logs and sockets.
    """
    if lacking := [tool for tool in _TOOLS if not shutil.which(tool)]:
        pytest.skip(f"SLURM: no {lacking[0]} (munge, slurmctld, slurmd, slurm-client)")
    if os.geteuid() != 0:
        pytest.skip("SLURM: only root can start one")
    for name in ("munge", "state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    (folder / "key").write_bytes(os.urandom(128))
    (folder / "key").chmod(0o600)
    host, (port, n1, n2) = socket.gethostname().split(".")[0], _free_ports(3)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        _CONFIGURATION.format(folder=folder, host=host, port=port, n1=n1, n2=n2)
    )
    daemons = [
        [
            # By force: its folders need not be open to other users, who have nothing to do here.
            *("munged", "--foreground", "--force", f"--socket={folder}/munge/socket"),
            *(f"--key-file={folder}/key", f"--pid-file={folder}/munge/pid"),
            *(f"--log-file={folder}/munge/log", f"--seed-file={folder}/munge/seed"),
        ],
        ["slurmctld", "-D", "-c", "-f", str(configuration)],
        *(["slurmd", "-D", "-f", str(configuration), "-N", node] for node in ("n1", "n2")),
    ]
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("SLURM_CONF", str(configuration))
        for words in daemons:  # munged ends last, or slurmd waits for it
            stack.callback(_end, _started(words))
        stack.callback(time.sleep, 0.5)
        stack.callback(said, "scancel", "--user=root", "--signal=KILL", "--full")
        end = time.monotonic() + 60
        while said("sinfo", "-h", "-o", "%t") != "idle":
            assert time.monotonic() < end, [log.read_text() for log in folder.glob("*.log")]
            time.sleep(0.2)
        yield


def said(*words: str) -> str:
    """What a command prints."""
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()


def _started(words: Sequence[str]) -> "subprocess.Popen[bytes]":
    quiet = subprocess.DEVNULL
    return subprocess.Popen(words, stdout=quiet, stderr=quiet, start_new_session=True)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(60)


def _free_ports(number: int) -> list[int]:
    taken = [socket.socket() for _ in range(number)]
    try:
        for each in taken:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in taken]
    finally:
        for each in taken:
            each.close()
