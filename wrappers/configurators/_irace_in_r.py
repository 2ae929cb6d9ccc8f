"""The process that R's irace runs in: `python _irace_in_r.py REQUESTS ANSWERS`.

The two arguments are descriptors of pipes; standard output belongs to R, which prints there. One
JSON object a line:

    parent                                             this process
    {"folder", "pairs", "budget", "seed",       ->     (once)
     "digits", "settings"}
                                                <-     {"evaluate": [[config, pair], ...]}
    {"costs": [...]}                            ->
                                                <-     {"incumbent": config}  after every iteration
                                                <-     {"done": true} or {"error": "one line"}

A `config` maps the names of active parameters to text. `folder` holds parameters.txt, forbidden.txt
and default.txt as `wrappers.formats._irace` writes them.

Why a process of its own, seen with irace 3.5 and rpy2 3.5.17: an error inside irace may call `q()`,
which ends the process without a Python exception, or open R's debugger, which waits for input that
never comes; R must be called from the main thread; and R swallows a Python exception in a callback.
So R is not interactive here, every callback ends the process when it fails, and irace's own
parallelism, which would fork this process, is never used: trials are asked for in batches.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

# R hands over all configurations of a batch as one vector of text, row by row: integers would
# arrive as floats, inactive ones as three kinds of NA. 15 significant digits are what irace itself
# would print; they undo the last-bit errors of R's own number reader. An experiment's fields are
# written with a dot by irace 3.5 and with an underscore by 4.
_R = r"""
function(folder, pairs, budget, seed, digits, settings, ask, report) {
  library(irace)
  newer <- packageVersion("irace") >= "4.0"
  log <- file.path(folder, "irace.Rdata")
  seen <- NULL
  send <- function(configurations, to, ...) {
    configurations <- as.data.frame(configurations)
    names <- grep("^[.]", colnames(configurations), invert = TRUE, value = TRUE)
    text <- sapply(configurations[names], function(column)
      ifelse(is.na(column), "",
             if (is.numeric(column)) sprintf("%.15g", column) else as.character(column)))
    text <- matrix(text, ncol = length(names))
    to(names, as.vector(t(text)), ...)
  }
  # irace 3.5 tells nobody that an iteration has ended, but writes its log file then.
  report_elites <- function() {
    written <- file.mtime(log)
    if (is.na(written) || identical(written, seen)) return()
    seen <<- written
    loaded <- new.env()
    load(log, envir = loaded)
    elites <- loaded$iraceResults$allElites
    if (length(elites) == 0) return()
    everything <- loaded$iraceResults$allConfigurations
    best <- as.character(everything$.ID.) == as.character(elites[[length(elites)]][1])
    send(everything[best, ], report)
  }
  evaluate <- function(experiments, ...) {
    report_elites()
    field <- function(experiment, name)
      if (is.null(experiment[[name]])) experiment[[sub(".", "_", name, fixed = TRUE)]]
      else experiment[[name]]
    pairs <- sapply(experiments, function(experiment) as.integer(field(experiment, "id.instance")))
    configurations <- do.call(rbind, lapply(experiments, `[[`, "configuration"))
    costs <- send(configurations, ask, pairs)
    lapply(costs, function(cost) list(cost = cost, time = NA_real_))
  }
  table <- paste(readLines(file.path(folder, "parameters.txt")), collapse = "\n")
  scenario <- c(settings, list(
    targetRunnerParallel = evaluate,
    # An instance of irace is one of the run's pairs, taken in their order; the seed that irace adds
    # is not used. Evaluating one twice would give the same cost: deterministic.
    instances = as.character(seq_len(pairs)), sampleInstances = 0, deterministic = 1,
    configurationsFile = file.path(folder, "default.txt"),
    maxExperiments = budget, seed = seed, logFile = log, execDir = folder, debugLevel = 0))
  elites <- if (newer) {
    forbidden <- readLines(file.path(folder, "forbidden.txt"))
    if (length(forbidden) > 0) forbidden <- c("[forbidden]", forbidden)
    table <- paste(c(table, forbidden, "[global]", paste("digits =", digits)), collapse = "\n")
    irace(c(scenario, list(parameters = readParameters(text = table))))
  } else {
    if (file.size(file.path(folder, "forbidden.txt")) > 0)
      scenario$forbiddenFile <- file.path(folder, "forbidden.txt")
    scenario$digits <- digits
    irace(scenario, readParameters(text = table, digits = digits))
  }
  send(elites[1, ], report)
}
"""


def main(requests: int, answers: int) -> None:
    """Run irace as the parent's first line says, asking the parent for every cost."""
    with os.fdopen(requests, "w") as out, os.fdopen(answers) as into:

        def say(message: dict[str, Any]) -> None:
            out.write(json.dumps(message) + "\n")
            out.flush()

        def ask(configs: Sequence[dict[str, str]], pairs: Sequence[int]) -> list[float]:
            # irace counts from 1.
            say({"evaluate": [[c, pair - 1] for c, pair in zip(configs, pairs, strict=True)]})
            line = into.readline()
            if not line:  # the parent is gone: nobody wants to know
                os._exit(0)
            return [float(cost) for cost in json.loads(line)["costs"]]

        start = json.loads(into.readline())
        error = run_irace(start, ask, lambda config: say({"incumbent": config}))
        say({"error": error} if error else {"done": True})


def run_irace(
    start: dict[str, Any],
    ask: Callable[[Sequence[dict[str, str]], Sequence[int]], list[float]],
    report: Callable[[dict[str, str]], None],
) -> str | None:
    """Run irace; None when it ended by itself, else R's error in one line."""
    from rpy2 import rinterface
    from rpy2.rinterface_lib import callbacks, embedded

    embedded.set_initoptions(("rpy2", "--quiet", "--no-save", "--no-restore"))
    rinterface.initr(interactive=False)
    callbacks.consoleread = lambda prompt: "0\n"  # leaves a debugger's menu, should one open

    def configs(names: Sequence[str], values: Sequence[str]) -> list[dict[str, str]]:
        wide = len(names)
        rows = (values[at : at + wide] for at in range(0, len(values), wide))
        return [
            {name: value for name, value in zip(names, row, strict=True) if value} for row in rows
        ]

    def asked(names: Any, values: Any, pairs: Any) -> Any:
        try:
            costs = ask(configs(list(names), list(values)), [int(pair) for pair in pairs])
            return rinterface.FloatSexpVector(costs)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def reported(names: Any, values: Any) -> Any:
        try:
            report(configs(list(names), list(values))[0])
            return rinterface.NULL
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    settings = rinterface.ListSexpVector(
        [rinterface.IntSexpVector([value]) for value in start["settings"].values()]
    )
    settings.names = rinterface.StrSexpVector(list(start["settings"]))
    function = rinterface.baseenv["eval"](rinterface.parse(_R))
    try:
        function(
            rinterface.StrSexpVector([start["folder"]]),
            *(
                rinterface.IntSexpVector([start[name]])
                for name in ("pairs", "budget", "seed", "digits")
            ),
            settings,
            rinterface.rternalize(asked),
            rinterface.rternalize(reported),
        )
    except embedded.RRuntimeError as error:
        return " ".join(str(error).split())
    return None


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
