"""`make bench`: measures, prints one table, and keeps it in README.md."""

import os
import sys
import tempfile
from pathlib import Path

from bench import board, report
from bench.hub import BenchFailed, running_hub
from bench.measure import Bench, Sizes

README = Path(__file__).with_name("README.md")


def measure(sizes, *, say):
    """Return the whole table's rows. `say` is told what is being measured."""
    with (
        running_hub() as hub,
        tempfile.TemporaryDirectory(prefix="sensor-agent-bench-") as place,
    ):
        bench = Bench(hub, Path(place), sizes)
        say("starts")
        rows = report.start_rows(*bench.starts())
        say("catching up")
        one_by_one, in_flight = bench.catch_up()
        at_once = bench.catch_up_at_once()
        say("catching up at the usual rate, with commands")
        at_default_rate, took = bench.commands_during_catch_up(at_default_rate=True)
        rows += report.catch_up_rows(one_by_one, in_flight, at_once, took, sizes)
        say("commands, idle")
        idle = bench.idle_commands()
        say("catching up at full rate, with commands")
        lifted, _ = bench.commands_during_catch_up(at_default_rate=False)
        rows += report.command_rows(idle, at_default_rate, lifted)
        say("memory, threads, CPU")
        rows += report.cost_rows(bench.lives(), sizes)
        rows += report.board_rows(board.memory("led"), board.memory("sensor"))
        say("instructions")
        rows += report.instruction_rows(bench.instructions(), sizes)
        say("growth")
        rows += report.growth_rows(bench.growth(), sizes)
        say("bytes written")
        rows += report.written_rows(bench.written(), sizes)
    return rows


def main(sizes, readme):
    load = os.getloadavg()[0]
    rows = measure(sizes, say=lambda what: print(f"Measuring: {what}", file=sys.stderr, flush=True))
    text = f"{report.machine(load)}\n\n{report.table(rows)}"
    print(text)
    report.write(readme, text)


if __name__ == "__main__":
    try:
        main(Sizes(), README)
    except BenchFailed as error:
        sys.exit(str(error))
