#!/usr/bin/env python3
"""Runs scenarios on CPython's asyncore and prints their traces.

    oracle.py [--pure | --bare | --without NAME | --list] [--attached] [FILE...]

Without a file it reads standard input, in which scenarios begin with "scenario NAME". What we do
differently on purpose (differences.py) is patched in, all of it, unless --pure or --without say
otherwise. --attached: as replay --attached, up to a loop inside of a loop.
"""

import argparse
import os
import signal
import sys
import warnings

warnings.simplefilter("ignore")  # asyncore is deprecated

import chat_output
import differences
import kernel
import scenario
from tracing import Log, Trace
from world import World

MAX_SECONDS = int(os.environ.get("CONFORMANCE_SECONDS", "60"))  # then a scenario hangs


class NoObserver:
    """Where coverage.py counts calls and states."""

    def __call__(self, channel, method):
        pass

    def enter(self, mode):
        pass

    def leave(self):
        pass


def play(plan, out, observer=NoObserver(), attached=False):
    trace = Trace(out)
    trace.line("scenario " + plan.name)
    world = World(plan, trace, observer, attached)
    chat_output.begin()
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Log(trace, "out: "), Log(trace, "err: ")
    signal.alarm(MAX_SECONDS)
    try:
        world.play(plan)
    finally:
        signal.alarm(0)
        sys.stdout, sys.stderr = streams
        world.clean_up()


def hang(number, stack):
    sys.__stdout__.write("\nHANG\n")
    sys.__stdout__.flush()
    os._exit(3)


def prepare():
    """Once, before scenarios are played."""
    kernel.prepare()
    sys.setrecursionlimit(10000)
    sys.unraisablehook = lambda _: None  # a __del__ of CPython's that fails
    signal.signal(signal.SIGALRM, hang)


def parsed_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pure", action="store_true", help="CPython as it is")
    parser.add_argument("--without", action="append", default=[], metavar="NAME",
                        help="all differences but this one")
    parser.add_argument("--bare", action="store_true",
                        help="what the differences share, but none of them: as --pure")
    parser.add_argument("--list", action="store_true", help="print the names of the differences")
    parser.add_argument("--attached", action="store_true",
                        help="the maps' base is run by the host")
    parser.add_argument("files", nargs="*", metavar="FILE")
    options = parser.parse_args()
    if options.pure + options.bare + bool(options.without) > 1:
        parser.error("only one of --pure, --bare and --without")
    for name in options.without:
        if name not in differences.DIFFERENCES:
            parser.error(f"no difference {name}: --list prints their names")
    return options


def main():
    options = parsed_arguments()
    if options.list:
        print(*differences.DIFFERENCES, sep="\n")
        return
    for stream in (sys.stdin, sys.stdout):
        stream.reconfigure(encoding="latin-1")  # a character is a byte
    try:
        plans = scenario.read(options.files)
    except (scenario.Mistake, OSError) as error:
        print(f"oracle.py: {error}", file=sys.stderr)
        sys.exit(2)
    if not options.pure:
        differences.apply(differences.DIFFERENCES if options.bare else options.without)
    prepare()
    try:
        for plan in plans:
            play(plan, sys.stdout, attached=options.attached)
            sys.stdout.flush()
    except BrokenPipeError:  # who reads it has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
