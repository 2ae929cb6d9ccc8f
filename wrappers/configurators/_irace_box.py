"""R in a box: how every process with R is started.

Seen with R 4.2: at its end R removes its temporary directory by a shell command without quotes,
which takes other folders along where its path has a blank; and what a user has set up for R's
prompt (.Rprofile, .Renviron, R_LIBS, R_DEFAULT_PACKAGES, R_HOME, a locale) changes what it answers.
So its temporary and working directory is a new one under a plain name, and no setting of the user's
reaches it. Packages are found in the site's libraries and where R itself puts a user's own.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.processes import ending_with_us, environment

_SETTINGS = re.compile(
    r"R_(?!LIBS_SITE$).*|RHOME|RPY2_.*|LC_.*|LANG|LANGUAGE|TZ|TMP|TEMP|TMPDIR|BASH_ENV|ENV"
)
_FIXED = {
    # No file of the user's, for whatever R this one starts in turn: rpy2 does.
    **dict.fromkeys(("R_ENVIRON_USER", "R_PROFILE_USER", "R_PROFILE"), ""),
    **{"LC_ALL": "C.UTF-8", "LANGUAGE": "en", "TZ": "UTC"},
    # Without a compiler and R's headers rpy2 can work in this mode only.
    "RPY2_CFFI_MODE": "ABI",
}


@contextlib.contextmanager
def box(place: Path | None = None) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """A folder for an R to work in, and the environment to start it with.

    It lies in `place` if that has a plain path, else where temporary files lie; gone at the end.
    """
    folder = _plain_folder(place)
    kept = {name: text for name, text in environment().items() if not _SETTINGS.fullmatch(name)}
    try:
        yield folder, kept | _FIXED | {"TMPDIR": str(folder)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _plain_folder(place: Path | None) -> Path:
    """A new folder whose path no shell misreads. Raises BadInput where there can be none."""
    asked = [place, os.environ.get("TMPDIR"), "/tmp", "/var/tmp", "/dev/shm"]
    places = [os.path.abspath(each) for each in asked if each]
    for parent in places:
        if re.fullmatch(r"[\w/.+-]+", parent, re.ASCII):
            with contextlib.suppress(OSError):
                return Path(tempfile.mkdtemp(prefix="sparse-aclib-r-", dir=parent))
    raise BadInput(
        f"no folder for R's temporary files in {', '.join(places)}: expected one that can be"
        " written to and has no blank or quote in its path; set TMPDIR to one"
    )


def rscript(code: str) -> subprocess.CompletedProcess[str]:
    """What R prints at a piece of code. Raises BadInput where there is no place for it."""
    with box() as (folder, settings):
        return subprocess.run(
            ending_with_us(["Rscript", "-e", code]),
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
