"""What random scenarios did with async_chats: what became of what was read, by the kind of the
terminator; and in which states of its output a channel's verbs were used. generate.py --coverage
prints the tables.
"""

from asynchat import async_chat

import chat_output
from patching import patch

# --- input ---------------------------------------------------------------------------------------

TERMINATORS = ("none", "zero", "number", "one byte", "several", "overlapping", "long")
OUTCOMES = ("collected", "found", "found twice", "held back", "held, found", "held, not found",
            "failed", "closed")


def kind_of(terminator):
    if not terminator:
        return "zero" if terminator == 0 else "none"
    if isinstance(terminator, int):
        return "number"
    if len(terminator) >= 100:
        return "long"
    overlaps = any(terminator.endswith(terminator[:n]) for n in range(1, len(terminator)))
    return "one byte" if len(terminator) == 1 else "overlapping" if overlaps else "several"


def can_become(terminator, outcome):
    if terminator in ("none", "zero"):
        return outcome in ("collected", "failed", "closed")
    if terminator in ("number", "one byte"):
        return not outcome.startswith("held")
    return True


class Read:
    """A handle_read that runs."""

    def __init__(self, channel):
        self.terminator = kind_of(channel.get_terminator())
        self.held = len(channel.ac_in_buffer)
        self.collected = 0
        self.found = 0

    def outcomes(self, channel, failed):
        held = len(channel.ac_in_buffer)
        if failed:
            yield "failed"
        elif self.found and channel.socket.fileno() < 0:
            yield "closed"
        elif self.collected and channel.socket.fileno() < 0:
            yield "closed"
        elif self.found:
            yield "held, found" if self.held else "found"
            if self.found > 1:
                yield "found twice"
        elif self.collected:
            yield "held, not found" if self.held else "collected"
        if not failed and held:
            yield "held back"


def look_at_input(counts, reads):
    """reads: those that run, which an observer tells of the calls of methods."""
    @patch(async_chat, "handle_read")
    def handle_read(original, channel):
        read = Read(channel)
        reads.append((channel, read))
        failed = True
        try:
            original(channel)
            failed = False
        finally:
            reads.pop()
            for outcome in read.outcomes(channel, failed):
                if can_become(read.terminator, outcome):
                    cell = "input", read.terminator, outcome
                    counts[cell] = counts.get(cell, 0) + 1


# --- output --------------------------------------------------------------------------------------

VERBS = ("push", "push_reference", "push_simple", "push_with_producer", "close_when_done",
         "initiate_send", "discard_buffers", "send", "close", "handle_write")
SENDS = ("gathered", "own send")
QUEUES = ("unconnected", "empty", "data", "producer", "close mark")
PLACES = ("in a handler", "elsewhere")


def queue_of(channel):
    """What is at the front."""
    if not channel.connected:
        return "unconnected"
    if not channel.producer_fifo:
        return "empty"
    first = channel.producer_fifo[0]
    return "close mark" if first is None else "data" if isinstance(first, bytes) else "producer"


def output_cell(channel, verb):
    in_handler = chat_output.gathering_of(channel._map).in_handler
    return ("output", verb, SENDS[chat_output.has_own_send(channel)], queue_of(channel),
            PLACES[not in_handler])


# --- the tables ----------------------------------------------------------------------------------

def note_call(counts, reads, channel, method):
    for other, read in reads[-1:]:
        if other is channel:
            read.collected += method == "collect_incoming_data"
            read.found += method == "found_terminator"
    if isinstance(channel, async_chat) and method in VERBS:
        cell = output_cell(channel, method)
        counts[cell] = counts.get(cell, 0) + 1


def cells():
    yield from (("input", terminator, outcome) for terminator in TERMINATORS
                for outcome in OUTCOMES if can_become(terminator, outcome))
    yield from (("output", verb, send, queue, place) for verb in VERBS for send in SENDS
                for queue in QUEUES for place in PLACES)


def print_tables(counts):
    print(f"{'terminator':21}" + "".join(f"{outcome:>16}" for outcome in OUTCOMES))
    for terminator in TERMINATORS:
        columns = (counts.get(("input", terminator, outcome), 0)
                   if can_become(terminator, outcome) else "-" for outcome in OUTCOMES)
        print(f"  {terminator:19}" + "".join(f"{column:>16}" for column in columns))
    print(f"\n{'output: ' + '/'.join(PLACES):32}" + "".join(f"{queue:>16}" for queue in QUEUES))
    for verb in VERBS:
        for send in SENDS:
            columns = ("/".join(str(counts.get(("output", verb, send, queue, place), 0))
                                for place in PLACES) for queue in QUEUES)
            print(f"  {verb:19}{send:11}" + "".join(f"{column:>16}" for column in columns))
    print()
