"""Runs scenarios on CPython's asyncore and on our library, and compares the traces.

At a difference it shows the smallest scenario that it finds to differ, and the lines.
"""

import argparse
import concurrent.futures
import difflib
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time

import scenario
import shrink
import side

HERE = os.path.dirname(os.path.abspath(__file__))
CHUNK = 100  # scenarios of a process
MAX_ONCE = 1e-4  # of the scenarios may differ once, and not again
MAX_SHOWN = 10  # differences
MAX_NAMES = 200
MAX_LINES = 80  # of one
SHRINK_SECONDS = 5  # of a scenario that is tried: then it hangs
QUIET_SECONDS = 10  # of shrinking

# What an attached map cannot do: the traces are compared up to there.
EXCEPTED = "EXCEPTED "

# The oracle's complaint of what no valid scenario asks for.
INVALID = re.compile(r"! (?!E[A-Z0-9]+\b|ExitNow)\w+")


class Failure(Exception):
    """Nothing that is compared is wrong, but the comparing."""


class Comparer:
    def __init__(self, options, directory):
        # No __pycache__ in the source tree.
        environment = dict(os.environ, TMPDIR=directory, PYTHONDONTWRITEBYTECODE="1")
        oracle = [sys.executable, os.path.join(HERE, "oracle.py"), *options.oracle]
        replay = os.path.join(options.build, "test/conformance/replay")
        if not os.access(replay, os.X_OK):
            raise Failure("there is no " + replay)
        attached = ["--attached"] if options.attached else []
        self.oracle = side.Side("oracle", [*oracle, *attached], environment)
        self.replay = side.Side("replay", [replay, *attached], environment)
        self.environment = environment

    def generated(self, first, last):
        """The random scenarios of these seeds."""
        made = subprocess.run([sys.executable, os.path.join(HERE, "generate.py"),
                               "--seeds", f"{first}..{last}"], env=self.environment,
                              stdout=subprocess.PIPE, encoding="latin-1", check=False)
        plans = scenario.parse(made.stdout.split("\n"), path="generate.py")
        if made.returncode or len(plans) != last - first + 1:
            raise Failure(f"generate.py --seeds {first}..{last}: {len(plans)} scenarios, "
                          f"status {made.returncode}")
        return plans

    def check_oracle(self):
        """Whether it takes its options: without a scenario it does nothing."""
        done = subprocess.run(self.oracle.command, env=self.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="latin-1",
                              check=False)
        if done.returncode or done.stdout:
            raise Failure("--oracle: " + (done.stderr or done.stdout).strip().split("\n")[-1])

    def both(self, plans, seconds=side.HANG_SECONDS):
        return list(map(up_to_exception, self.oracle.traces(plans, seconds),
                        self.replay.traces(plans, seconds)))

    def compare(self, plans):
        """How many, and how many of them to an exception only, of those that differ the scenario and its two traces, and a word on those that
        do not a second time: the kernel can give a port again that a channel remembers."""
        all_traces = self.both(plans)
        excepted = sum(map(is_excepted, all_traces))
        found = [(plan, traces) for plan, traces in zip(plans, all_traces) if differ(traces)]
        if not found:
            return len(plans), excepted, [], []
        seconds = seconds_for(traces for _, traces in found)
        again = {plan.name for plan, traces in zip(plans, self.both(plans, seconds))
                 if differ(traces)}
        return (len(plans), excepted,
                [(plan, traces) for plan, traces in found if plan.name in again],
                [f"{plan.name} ({first_difference(traces)})" for plan, traces in found
                 if plan.name not in again])

    def shrink(self, plan, traces):
        """A smaller scenario that differs, and its traces."""
        seconds = seconds_for([traces])
        alone, = self.both([plan], seconds)
        if not differ(alone):
            return plan, traces, "only after the scenarios before it"
        progress = Progress(plan.name)

        def keeps(plans):
            progress.step(plans)
            valid = [candidate for candidate in plans if scenario.is_valid(candidate)]
            pairs = iter(self.both(valid, SHRINK_SECONDS))
            return [candidate in valid and differ(pair := next(pairs)) and kind(pair) <= kind(alone)
                    for candidate in plans]

        plan = shrink.Shrinker(plan, keeps).shrink()
        again, = self.both([plan], seconds)
        return plan, again, "different" if differ(again) else "different, not always"


class Progress:
    """Tells whoever waits that a scenario is being made smaller."""

    def __init__(self, name):
        self.name = name
        self.start = self.told = time.monotonic()

    def step(self, plans):
        now = time.monotonic()
        if now - self.told >= QUIET_SECONDS:
            self.told = now
            size = min(len(plan.text().splitlines()) for plan in plans)
            print(f"compare.sh: making {self.name} smaller for {now - self.start:.0f} s: "
                  f"{size} lines", file=sys.stderr, flush=True)


def seconds_for(pairs):
    """For a scenario that is run again: one that hung is not waited for as long."""
    hangs = any(side.HANGS in trace for traces in pairs for trace in traces)
    return SHRINK_SECONDS if hangs else side.HANG_SECONDS


def up_to_exception(oracle, replay):
    """The two traces, the oracle's up to where replay's has ended; what follows there is no trace."""
    at = next((i for i, line in enumerate(replay) if line.startswith(EXCEPTED)), None)
    if at is None:
        return oracle, replay
    return oracle[:at] + [replay[at]], replay


def is_excepted(traces):
    return any(line.startswith(EXCEPTED) for line in traces[1])


def differ(traces):
    return traces[0] != traces[1] or any(map(side.ended_badly, traces))


def first_difference(traces):
    return " / ".join(next((pair for pair in itertools.zip_longest(*traces, fillvalue="")
                            if pair[0] != pair[1]), ("", "")))


def kind(traces):
    """What must not come to a difference while it is made smaller: other ends, mistakes."""
    return ({(i, (side.ended_badly(trace) or "").partition("LEAK")[:2])
             for i, trace in enumerate(traces)}
            | {found for line in traces[0] for found in INVALID.findall(line)})


# --- the program ---------------------------------------------------------------------------------


def chunks_of_seeds(comparer, text):
    match = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    if not match:
        raise Failure("--seeds A..B expected, not " + text)
    first, last = map(int, match.groups())
    if last < first:
        raise Failure(f"--seeds {text}: {last} is less than {first}")
    for start in range(first, last + 1, CHUNK):
        end = min(start + CHUNK - 1, last)
        yield lambda start=start, end=end: comparer.compare(comparer.generated(start, end))


def chunks_of_files(comparer, paths):
    plans = scenario.read(paths)
    for start in range(0, len(plans), CHUNK):
        yield lambda part=plans[start:start + CHUNK]: comparer.compare(part)


def results(chunks):
    """Of the chunks, in order: one for each processor at a time."""
    cpus = list(os.sched_getaffinity(0))

    def settle_on_one():
        # The interpreters stay on the processor on which they are started.
        os.sched_setaffinity(0, {cpus.pop()})

    with concurrent.futures.ThreadPoolExecutor(len(cpus), initializer=settle_on_one) as pool:
        futures = [pool.submit(chunk) for chunk in chunks]
        try:
            for future in futures:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def show(comparer, plan, traces, shown):
    """The difference at its smallest, unless it was shown before."""
    name = plan.name
    plan, traces, what = comparer.shrink(plan, traces)
    text = plan.text().partition("\n")[2]
    if text in shown:
        print(f"=== {name}: the same as {shown[text]}")
        return
    shown[text] = name
    print(f"=== {name}: {what}")
    print(text, end="")
    lines = list(difflib.unified_diff(*traces, "oracle", "replay", lineterm=""))
    if not lines:
        lines = traces[0]
    print("\n".join(lines[:MAX_LINES]))
    if len(lines) > MAX_LINES:
        print(f"({len(lines) - MAX_LINES} lines more)")
    sys.stdout.flush()


def compare(comparer, chunks, options):
    compared = excepted = 0
    different = []
    once = []
    shown = {}
    for count, excepting, found, unsteady in results(chunks):
        once += unsteady
        for plan, traces in found:
            if len(different) < MAX_SHOWN:
                show(comparer, plan, traces, shown)
            different.append(plan.name)
            if not options.keep_going:
                break
        compared += count
        excepted += excepting
        if different and not options.keep_going:
            break
    if len(different) > MAX_SHOWN:
        print("=== and", *different[MAX_SHOWN:MAX_SHOWN + MAX_NAMES])
    for what in once:
        print("=== different once, and not again:", what)
    print(f"compared {compared}, different {len(different)}"
          + (f", excepted {excepted}" if options.attached else ""))
    steady = len(once) <= 1 + compared * MAX_ONCE
    return 0 if compared and not different and steady else 1


def joined(words):
    """With --oracle and what follows as one word, or that would be taken for an option of ours."""
    words = iter(words)
    return [f"{word}={next(words, '')}" if word == "--oracle" else word for word in words]


def parsed_arguments():
    parser = argparse.ArgumentParser(prog="compare.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True, metavar="DIR", help="where replay was built")
    parser.add_argument("--seeds", metavar="A..B", help="random scenarios")
    parser.add_argument("--keep-going", action="store_true", help="after a difference")
    parser.add_argument("--attached", action="store_true",
                        help="the maps are attached: their base is run by the host")
    parser.add_argument("--oracle", action="append", default=[], metavar="OPTION",
                        help="is given to oracle.py: --pure, --without=NAME")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args(joined(sys.argv[1:]))
    if bool(options.seeds) == bool(options.files):
        parser.error("either --seeds or files")
    return options


def main():
    options = parsed_arguments()
    with tempfile.TemporaryDirectory(prefix="compare.") as directory:
        try:
            comparer = Comparer(options, directory)
            comparer.check_oracle()
            chunks = (chunks_of_seeds(comparer, options.seeds) if options.seeds
                      else chunks_of_files(comparer, options.files))
            return compare(comparer, chunks, options)
        except (Failure, scenario.Mistake, OSError) as error:
            print(f"compare.sh: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
