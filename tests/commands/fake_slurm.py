"""Stands for SLURM's commands in tests: notes what it is told, does arrays on this machine.

Called as sbatch, squeue, scontrol or srun. FAKE_SLURM is a folder: `calls.jsonl` gets the words of
each call, `queue` is what squeue lists, `refuses` what sbatch and srun fail with. With a file
`works` there, sbatch does the tasks, four at once, and comes back when they have ended.
"""

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(os.environ.get("FAKE_SLURM", "."))


def main(tool: str, words: list[str]) -> int:
    with open(FOLDER / "calls.jsonl", "a") as file:
        file.write(json.dumps([tool, *words]) + "\n")
    if tool == "squeue":
        print(content("queue"), end="")
    elif tool == "scontrol" and words[0] == "show":
        print("MaxArraySize            = 1001")
    elif tool == "scontrol":
        (FOLDER / f"again-{words[-1]}").touch()
    elif content("refuses"):
        print(content("refuses"), file=sys.stderr)
        return 1
    elif tool == "srun":
        print("locks hold")
    else:
        sbatch(words)
    return 0


def content(name: str) -> str:
    try:
        return (FOLDER / name).read_text()
    except FileNotFoundError:
        return ""


def sbatch(words: list[str]) -> None:
    said = dict(word[2:].split("=", 1) for word in words if word.startswith("--") and "=" in word)
    job = str(len(list(FOLDER.glob("job-*"))) + 100)
    (FOLDER / f"job-{job}").touch()
    if (FOLDER / "works").exists():
        with ThreadPoolExecutor(4) as several:
            list(several.map(lambda task: do(job, task, said, words[-1]), tasks(said.get("array"))))
    print(f"{job};cluster")


def tasks(array: str | None) -> list[str | None]:
    if array is None:
        return [None]
    parts = [part.split("-") for part in array.split(",")]
    return [str(n) for part in parts for n in range(int(part[0]), int(part[-1]) + 1)]


def do(job: str, task: str | None, said: dict[str, str], script: str) -> None:
    name = job if task is None else f"{job}_{task}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
    environment |= {"SLURM_JOB_ID": f"9{job}{task or ''}", "SLURMD_NODENAME": f"n{task}"}
    if task is not None:
        environment |= {"SLURM_ARRAY_JOB_ID": job, "SLURM_ARRAY_TASK_ID": task}
    output = re.sub("%(.)", lambda found: {"%": "%", "a": task or ""}[found[1]], said["output"])
    while True:
        (FOLDER / f"again-{name}").unlink(missing_ok=True)
        with open(output, "a") as file:
            process = subprocess.Popen(
                ["bash", script], env=environment, stdout=file, stderr=file, cwd=said["chdir"]
            )
            (FOLDER / f"pid-{name}").write_text(str(process.pid))
            status = process.wait()
        with open(FOLDER / f"ended-{name}", "a") as file:
            file.write(f"{status}\n")
        if not (FOLDER / f"again-{name}").exists():
            return


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[0]).name, sys.argv[1:]))
