"""Workers on other hosts, through `ssh`: worker i on host i, and around again.

The hosts have this checkout with its .venv in the same folder, shared or copied, and let the user
in without a question. What a trial depends on goes along in the command: the folders of data and of
private roots, the cache, the compiler.
"""

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.processes import ONE_THREAD, environment
from wrappers.warm import Start, Worker, apart, processes

OPTIONS = (
    *("-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
)
"""No terminal, no forwarding, no question; a host that is silent for a minute is lost."""

PATHS = ("SPARSE_ACLIB_DATA", "SPARSE_ACLIB_PATH", "XDG_CACHE_HOME")
"""Folders that go along; the worker starts in another one, so they are absolute."""

_SAME = "the checkout and its .venv must be in the same folder there as here"
_HAND = "log in there once by hand, 'ssh {host} true', and compare its key"
_KEY = "let a key of yours in there that asks nothing ('ssh-copy-id {host}', ssh-agent)"
_OFF = "is it on, and does 'ssh {host} true' work here?"
ADVICE = (
    ("Could not resolve hostname", "no host has this name here: mend --executor"),
    ("Host key verification failed", _HAND),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", _HAND),
    ("Permission denied", _KEY),
    ("Connection refused", _OFF),
    ("Connection timed out", _OFF),
    ("No route to host", _OFF),
    ("No such file or directory", _SAME),
    ("No module named", _SAME),
)


@dataclass(frozen=True)
class Ssh:
    """Hosts, as `ssh` knows them."""

    hosts: tuple[str, ...]

    def workers(self, count: int) -> AbstractContextManager[Sequence[Worker]]:
        """See `Executor`."""
        if shutil.which("ssh") is None:
            raise BadInput("executor 'ssh': no program ssh in PATH, expected OpenSSH's")
        return processes(self.start(self.hosts[i % len(self.hosts)]) for i in range(count))

    def start(self, host: str) -> Start:
        """How a worker is started there."""
        settings = [f"{name}={value}" for name, value in travelling(os.environ).items()]
        # Any login shell reads these words as this list, whatever is in them.
        there = shlex.join(["exec", *apart(["env", *settings])])
        advice = tuple((text, do.format(host=host)) for text, do in ADVICE)
        otherwise = f"'ssh -o BatchMode=yes {host} true' must work here, silently"
        words = ("ssh", *OPTIONS, "--", host, there)
        return Start(words, environment(), f"host {host}", advice, otherwise)


def travelling(ours: Mapping[str, str]) -> dict[str, str]:
    """What of an environment goes along: what every process of the suite has, and `PATHS`."""
    fixed = environment().items()
    told = {name: value for name, value in fixed if name.startswith("PYTHON") or name in ONE_THREAD}
    for name in PATHS:
        if folders := [
            str(Path(each).absolute()) for each in ours.get(name, "").split(":") if each
        ]:
            told[name] = ":".join(folders)
    if compiler := ours.get("CC"):
        told["CC"] = compiler
    return told


def executor(rest: str) -> Ssh:
    """`HOST,USER@HOST,...`. Raises BadInput for anything else."""
    hosts = tuple(rest.split(","))
    for host in hosts:
        if not re.fullmatch(r"(?:[\w.][\w.-]*@)?[\w.\[][\w.:\]-]*", host, re.ASCII):
            raise BadInput(
                f"executor 'ssh:{rest}': {host!r} is no host, expected such as "
                "ssh:node1,node2 or ssh:me@node1"
            )
    return Ssh(hosts)
