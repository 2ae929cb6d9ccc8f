"""Workers on other hosts, through `ssh`: worker i on host i, and around again.

The hosts have this checkout with its .venv in the same folder, shared or copied, and let the user
in without a question. What a trial depends on goes along in the command: the folders of data and of
private roots, the cache, the compiler.
"""

import re
import shlex
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sparse_training.errors import BadInput
from wrappers.processes import ONE_THREAD, environment, travelling
from wrappers.warm import Start, Worker, apart, processes

OPTIONS = (
    *("-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=4"),
)
"""No terminal, no forwarding, no question; a host that is silent for a minute is lost."""

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
        ours = environment()
        fixed = {name: ours[name] for name in ours if name.startswith("PYTHON")}
        told = fixed | ONE_THREAD | travelling()
        settings = [f"{name}={value}" for name, value in told.items()]
        # Any login shell reads these words as this list, whatever is in them.
        there = shlex.join(["exec", *apart(["env", *settings])])
        advice = tuple((text, do.format(host=host)) for text, do in ADVICE)
        otherwise = f"'ssh -o BatchMode=yes {host} true' must work here, silently"
        words = ("ssh", *OPTIONS, "--", host, there)
        return Start(words, environment(), f"host {host}", advice, otherwise)


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
