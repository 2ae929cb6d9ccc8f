"""DeepCAVE: a folder as of SMAC3 2.x, with a line a configuration.

DeepCAVE 1.4.1 refuses instances, and takes each line for a configuration's own cost; so a line has
the mean cost over all pairs on which the configuration was evaluated, and their times together; one
for each share of the training budget, which DeepCAVE calls a budget.

**Source**: DeepCAVE's converter for SMAC3 2.x, which has read these files.
"""

import statistics

from wrappers.foreign import Recorded, smac3_2


def written(run: Recorded) -> dict[str, str]:
    """Its files. The fewer pairs a configuration has, the less its cost says; they are counted."""
    numbers = smac3_2.numbered(run)
    shares = smac3_2.has_shares(run)
    data = []
    for identity, fidelity in dict.fromkeys((each.config_id, each.fidelity) for each in run.trials):
        own = [each for each in run.trials if each.key[::3] == (identity, fidelity)]
        number = numbers[identity]
        failed = next((each.status for each in own if each.status != "SUCCESS"), None)
        cost = statistics.fmean(each.cost for each in own)
        begin = smac3_2.seconds(own[0].started)
        took = sum(each.runtime or 0.0 for each in own)
        data.append(
            smac3_2.line(number, cost, "SUCCESS" if failed is None else failed, run.info.seed)
            | {
                "budget": fidelity if shares else None,
                "time": took,
                "cpu_time": sum(each.cpu_time or 0.0 for each in own),
                "starttime": begin,
                "endtime": begin + took,
                "additional_info": {"pairs": len(own)},
            }
        )
    return smac3_2.files(run, data, numbers)
