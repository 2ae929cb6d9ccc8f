"""irace 3.5 and 4: its log, which R reads in a box of its own and tells in lines of text.

Trials are in the order of the log's experiments; incumbents are the first elites of every
iteration. Where the log says so, an instance is one of the scenario's by its name.
"""

from pathlib import Path

from sparse_training.errors import BadInput
from wrappers.configurators._irace_box import rscript
from wrappers.foreign import Change, Left, as_written, the_one, trial, whole
from wrappers.records import MOST_TRIALS, Record
from wrappers.scenario import Scenario

# A line each, cells behind tabs: C number name value name value ...; T configuration instance seed
# cost time; E iteration configuration trials. 15 digits are what irace itself tells a target.
_R = r"""
if (getRversion() < "4.4.0") {{ cat("OLD", as.character(getRversion())); quit(status = 0) }}
args <- {place}
loaded <- new.env()
load(args, envir = loaded)
results <- loaded$iraceResults
say <- function(...) cat(..., sep = "\t", fill = FALSE)
configurations <- results$allConfigurations
names <- grep("^[.]", colnames(configurations), invert = TRUE, value = TRUE)
for (row in seq_len(nrow(configurations))) {{
  values <- lapply(configurations[row, names, drop = FALSE], function(value)
    if (is.na(value)) NULL else if (is.numeric(value)) sprintf("%.15g", value)
    else as.character(value))
  values <- Filter(Negate(is.null), values)
  say("C", configurations[row, ".ID."], unlist(Map(c, names(values), values), use.names = FALSE))
  cat("\n")
}}
pairs <- results$state$.irace$instancesList
if (is.null(pairs)) pairs <- results$state$instances_log
column <- function(table, one, other) if (is.null(table[[one]])) table[[other]] else table[[one]]
instances <- column(pairs, "instance", "instanceID")
seeds <- pairs[["seed"]]
named <- results$scenario$instances
log <- as.data.frame(results$experimentLog)
if (is.null(log) || nrow(log) == 0) log <- as.data.frame(results$state$experiment_log)
costs <- results$experiments
for (row in seq_len(nrow(log))) {{
  pair <- log[row, "instance"]; id <- as.character(log[row, "configuration"])
  cost <- costs[pair, id]
  if (is.na(cost)) next
  say("T", id, named[[instances[pair]]], seeds[pair], sprintf("%.17g", cost),
      as.character(log[row, "time"]), log[row, "iteration"])
  cat("\n")
}}
for (iteration in seq_along(results$iterationElites)) {{
  say("E", iteration, results$iterationElites[[iteration]],
      sum(log[["iteration"]] <= iteration))
  cat("\n")
}}
"""


def read(place: Path, scenario: Scenario) -> Left:
    """place: the log, or a folder with the only one. Raises BadInput, too, where there is no R."""
    file = the_one(place, "*.Rdata", "*.RData")
    quoted = '"' + str(file.resolve()).replace("\\", "\\\\").replace('"', '\\"') + '"'
    try:
        done = rscript(_R.format(place=quoted))
    except FileNotFoundError as error:
        raise BadInput(f"{file}: R is not installed, which reads it") from error
    if done.stdout.startswith("OLD "):  # CVE-2024-27322: promises in a file are evaluated
        raise BadInput(
            f"{file}: R {done.stdout[4:].strip()} may run code that a log holds (CVE-2024-27322), "
            "expected R 4.4 or newer; or run irace with SPARSE_ACLIB_RECORD=FOLDER, then "
            "'sparse-aclib import FOLDER --from record --configurator irace --scenario "
            f"{scenario.name} --seed N'"
        )
    if done.returncode:
        why = " ".join(done.stderr.split())[-200:]
        raise BadInput(f"{file}: not as irace writes it ({why})")
    configs: dict[str, dict[str, str]] = {}
    trials: list[Record] = []
    changes: list[Change] = []
    for number, line in enumerate(done.stdout.split("\n"), 1):
        kind, *cells = line.split("\t")
        with as_written(f"{file}, line {number} of what R makes of it", "this client"):
            if kind == "C":
                configs[cells[0]] = dict(zip(cells[1::2], cells[2::2], strict=True))
            elif kind == "T":
                identity, instance, seed, cost, *_ = cells
                where = f"{file}, trial {len(trials) + 1}"
                trials.append(trial(scenario, configs[identity], instance, seed, cost, where=where))
            elif kind == "E":
                iteration, identity, consumed, *_ = cells
                where = f"{file}, iteration {iteration[:10]}"
                at = whole(consumed, "trials", where, most=MOST_TRIALS)
                changes.append(Change(config=configs[identity], trial=at, where=where))
    return Left(trials, changes)
