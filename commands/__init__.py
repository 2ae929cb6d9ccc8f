"""The commands of `sparse-aclib`: a file each, found by existing.

A command is a module with one function `command`, which Typer turns into a command line: its
docstring is the help. It is the only place that knows both `wrappers` and `analysis`. What takes
seconds to import is imported inside the function that needs it.

    run.py              configure a scenario's target algorithm
    validate.py         evaluate incumbents on data that no configurator saw
    ablate.py           which changes made an incumbent better than the default
    report.py           tables, figures, one page
    import_.py, export_run.py       a foreign configurator's run as ours; ours as others'
    check.py            whether recorded runs are whole
    benchmark.py        all of it, for many runs side by side
    eval.py, call.py    one configuration by hand; the call for it
    fitness.py          whether instance sets measure sparse training
    list.py, fetch.py, engines.py       what there is; data; the truly sparse engine
    export.py, new.py   files for other programs; scaffolds of variants, configurators, sets
    _console.py         progress and what the commands have in common
    __main__.py         the command line: errors, signals, status
"""
