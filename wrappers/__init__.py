"""Between target algorithms and configurators: calls, spaces, scenarios, evaluation, records.

    space.py            parameter spaces: reading old PCS, checking and drawing configurations
    scenario.py         scenarios and instance sets: reading and checking them
    aclib.py, call.py   one call of AClib: its words and its answer; what `./wrappers/target` does
    client.py           the same call answered by the user's server, in the caller's Python
    server.py           that server: the libraries loaded once for all calls of a user
    record.py           the record of such calls, where one is wanted
    worker.py           trials one after the other in processes of their own, within their limits
    processes.py        how processes start and end: environment, death with the parent
    warm.py             a worker as who asks it sees it: a process behind pipes, here or elsewhere
    executors/          where workers run: a file each
    evaluator.py        many trials at once, on several workers
    trials.py, pairs.py trials of a scenario; the (instance, seed) pairs that all compare on
    run.py              a configurator's run: budget, resuming
    races.py, rungs.py  what configurators share: races side by side; shares of training and pairs
    fitness.py          the trials by which an instance set is judged
    health.py           what became of trials, in one line
    validation.py, ablation.py      after a run: on test instances; between two configurations
    records.py          what is written down, as types; one writer, one reader
    locks.py            who works on a folder of records: one process, on any machine
    progress.py         how far runs are, planned ones too
    slurm.py            a benchmark as jobs of SLURM: what is submitted, and the scripts
    check.py            a run's record as it was found, and all that is wrong with it
    origin.py           what a run was made with, and whether it still holds
    provenance.py       the code that a trial runs, as a fingerprint
    fetch.py, features.py           data sets of instance sets; features.csv
    formats/            spaces and scenarios in other programs' forms, a file each
    foreign/            what other configurators leave behind, as runs: a file a form
    configurators/      a file each; what they share is nothing but a run

README.md has the way of one trial, from a command line to its record.
"""
