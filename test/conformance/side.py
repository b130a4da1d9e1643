"""One of the two interpreters: runs scenarios in it, and takes its output apart."""

import signal
import subprocess

MAX_SECONDS = 300  # of a process
HANG_SECONDS = 60  # of a scenario: each side stops it by itself
MAX_REPORT = 60  # lines

HANG_STATUS = 3

HANGS = "ENDED by hanging"


def ended_badly(trace):
    """How: a line of the trace, or None."""
    return next((line for line in trace if line.startswith(("ENDED", "LEAK"))), None)


def how(status):
    return f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"


class Side:
    def __init__(self, name, command, environment):
        self.name = name
        self.command = command
        self.environment = environment

    def run(self, plans, seconds):
        """The traces that one process prints, lists of lines; and how it ended, lines, none if
        well."""
        text = "".join(plan.text() for plan in plans).encode("latin-1")
        try:
            done = subprocess.run(self.command, input=text, capture_output=True,
                                  timeout=MAX_SECONDS, check=False,
                                  env=dict(self.environment, CONFORMANCE_SECONDS=str(seconds)))
        except subprocess.TimeoutExpired as late:
            return traces_in(late.stdout or b""), [HANGS]
        traces = traces_in(done.stdout)
        report = done.stderr.decode("latin-1").splitlines()[:MAX_REPORT]
        if done.returncode == HANG_STATUS:
            return traces, [HANGS, *report]
        if done.returncode or report:
            return traces, [f"ENDED {how(done.returncode)}", *report]
        if [trace[0] for trace in traces] != ["scenario " + plan.name for plan in plans]:
            return traces, ["ENDED well, but has not run the scenarios"]
        return traces, []

    def traces(self, plans, seconds=HANG_SECONDS):
        """The trace of each scenario. If a process ends badly, how stands in the trace of the
        scenario that made it; the others are run all the same."""
        if not plans:
            return []
        traces, end = self.run(plans, seconds)
        if not end:
            return traces
        if len(plans) == 1:
            return [sum(traces, []) + end]
        last = max(min(len(traces), len(plans)) - 1, 0)
        if end[0] == HANGS and traces:
            # It was the last that has begun: it is not waited for again.
            result = traces[:last] + [sum(traces[last:], []) + end]
            return result + self.traces(plans[last + 1:], seconds)
        if len(traces) < len(plans):
            # It was the last that has begun, or the next one, of which nothing was written yet.
            result = traces[:last]
            rest = [plans[last:last + 1], plans[last + 1:]]
        else:
            # It was the last one, or there is a report at the end, of any of them.
            result = []
            rest = [plans[:len(plans) // 2], plans[len(plans) // 2:]]
        for part in rest:
            result += self.traces(part, seconds)
        if not any(map(ended_badly, result)):
            result[last] = result[last] + ["(after the scenarios before it, not alone:)"] + end
        return result


def traces_in(output):
    traces = []
    lines = output.decode("latin-1").split("\n")
    for line in lines if lines[-1] else lines[:-1]:
        if line.startswith("scenario "):
            traces.append([])
        if traces:
            traces[-1].append(line)
    return traces
