"""How often each method met each state, over random scenarios.

A state is the kind of the channel's connection, the loop that is at work (outside: none), and the
phase that the connection is in. generate.py --coverage prints the tables.
"""

import contextlib
import io
import multiprocessing
import os
import select
import shutil
import socket
import stat
import weakref

import coverage_chat
import differences
import generate
import kernel
import oracle
import scenario

KINDS = ("none", "tcp", "tcp6", "unix", "socketpair", "dgram", "udp", "pipe", "file")
MODES = ("outside", "select", "poll")
PHASES = ("unconnected", "connecting", "connected", "listening", "half-closed", "reset", "closed",
          "reconnecting")

STREAMS = ("tcp", "tcp6", "unix")


def can_occur(method, kind, phase):
    """In each mode, since every method can be called directly, from outside and in a loop."""
    if kind == "none":
        # Without a socket there are only the flags, as the program set them; that it was closed
        # shows nowhere.
        return phase in ("unconnected", "connecting", "connected") and method != "handle_accepted"
    if phase == "listening" and kind not in STREAMS:
        # Pairs are born connected, and datagrams and files know no connections to accept.
        return False
    if method == "handle_accepted" and phase != "listening":
        # Nobody but handle_accept calls it, with what the kernel gave.
        return False
    if method in scenario.CHAT_METHODS and kind in ("pipe", "file"):
        # An async_chat has a socket.
        return False
    if phase == "half-closed" and kind in ("pipe", "file"):
        # A pipe has one direction; a file has no other side.
        return False
    if phase == "reset" and kind == "file":
        # There is no other side.
        return False
    return True


# --- states --------------------------------------------------------------------------------------

RDHUP = select.POLLRDHUP
GONE = select.POLLHUP | select.POLLERR


def polled(fd):
    """What the kernel tells without being asked for events: no side effect."""
    poller = select.poll()
    poller.register(fd, RDHUP)
    ready = poller.poll(0)
    return ready[0][1] if ready else 0


@contextlib.contextmanager
def borrowed(fd):
    """A socket object of a descriptor that stays another's."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def name_of(get):
    try:
        return get()
    except OSError:
        return None


def kind_of(fd):
    mode = os.fstat(fd).st_mode
    if not stat.S_ISSOCK(mode):
        return "pipe" if stat.S_ISFIFO(mode) else "file"
    with borrowed(fd) as sock:
        if sock.family == socket.AF_INET6:
            return "tcp6"
        if sock.family == socket.AF_INET:
            return "tcp" if sock.type == socket.SOCK_STREAM else "udp"
        if sock.type == socket.SOCK_DGRAM:
            return "dgram"
        unnamed = name_of(sock.getpeername) == "" == name_of(sock.getsockname)
        return "socketpair" if unnamed else "unix"


def is_listening(fd):
    try:
        with borrowed(fd) as sock:
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0
    except OSError:
        return False


class Socket:
    """What is known of a channel's present socket."""

    def __init__(self, sock, kind, number):
        self.sock = weakref.ref(sock)  # one that a channel drops is closed
        self.kind = kind
        self.number = number  # 1: the channel's first one


class Observer:
    """Counts the calls of methods and verbs by state."""

    def __init__(self, counts, reads):
        self.counts = counts
        self.reads = reads
        self.modes = []
        self.sockets = {}  # by channel

    def enter(self, mode):
        self.modes.append(mode)

    def leave(self):
        self.modes.pop()

    def __call__(self, channel, method):
        coverage_chat.note_call(self.counts, self.reads, channel, method)
        kind, phase = self.state(channel)
        if method in scenario.METHODS:
            mode = self.modes[-1] if self.modes else "outside"
            cell = method, kind, mode, phase
            self.counts[cell] = self.counts.get(cell, 0) + 1

    def state(self, channel):
        flags = ("connected" if channel.connected else
                 "connecting" if channel.connecting else "unconnected")
        if channel.socket is None:
            return "none", flags
        fd = channel.socket.fileno()
        known = self.sockets.get(channel)
        if known is None or known.sock() is not channel.socket:
            # Once closed, a socket does not tell any more whether it was one of a pair.
            kind = name_of(lambda: kind_of(fd)) or "unseen"
            known = Socket(channel.socket, kind, known.number + 1 if known else 1)
            self.sockets[channel] = known
        return known.kind, self.phase(known, fd, flags)

    def phase(self, known, fd, flags):
        events = polled(fd) if fd >= 0 else select.POLLNVAL
        if events & select.POLLNVAL:
            return "closed"
        if is_listening(fd):
            return "listening"
        if flags != "connected":
            return "reconnecting" if known.number > 1 else flags
        if events & GONE:
            return "reset"  # or both directions have ended
        return "half-closed" if events & RDHUP else "connected"


# --- the whole -----------------------------------------------------------------------------------


def count(seeds):
    """The counts of some seeds, in a process of its own: asyncore's map is global."""
    counts = {}
    reads = []
    differences.apply([])
    coverage_chat.look_at_input(counts, reads)
    oracle.prepare()
    for seed in seeds:
        text = generate.generate(seed).text()
        for plan in scenario.parse(text.splitlines()):
            oracle.play(plan, io.StringIO(), Observer(counts, reads))
    shutil.rmtree(kernel.directory)  # the workers of a pool do not come to atexit
    return counts


def count_all(seeds):
    total = {}
    parts = [seeds[i::8] for i in range(8)]
    with multiprocessing.Pool(multiprocessing.cpu_count(), maxtasksperchild=1) as pool:
        for counts in pool.imap(count, [part for part in parts if part], 1):
            for cell, number in counts.items():
                total[cell] = total.get(cell, 0) + number
    return total


def print_table(method, counts):
    print(f"{method:21}" + "".join(f"{phase:>21}" for phase in PHASES))
    for kind in KINDS:
        columns = []
        for phase in PHASES:
            cells = [counts.get((method, kind, mode, phase), 0) for mode in MODES]
            possible = can_occur(method, kind, phase) or any(cells)
            columns.append("/".join(map(str, cells)) if possible else "-")
        print(f"  {kind:19}" + "".join(f"{column:>21}" for column in columns))
    print()


def report(seeds):
    """Prints the tables and what is empty; the exit status."""
    counts = count_all(seeds)
    print("calls outside of loops / in select mode / in poll mode; -: cannot occur\n")
    for method in scenario.METHODS:
        print_table(method, counts)
    coverage_chat.print_tables(counts)
    cells = [(method, kind, mode, phase) for method in scenario.METHODS for kind in KINDS
             for phase in PHASES for mode in MODES if can_occur(method, kind, phase)]
    cells += coverage_chat.cells()
    empty = [cell for cell in cells if not counts.get(cell)]
    impossible = [cell for cell in counts if cell[1] in KINDS and cell not in cells]
    for cell in empty:
        print("empty:", *cell)
    for cell in impossible:
        print("cannot occur, but did:", *cell)
    least = min(counts.get(cell, 0) for cell in cells)
    calls = sum(number for cell, number in counts.items() if cell[0] in scenario.METHODS)
    print(f"{len(seeds)} scenarios, {calls} calls, {len(cells)} cells, "
          f"the rarest {least} times, empty {len(empty)}")
    return 1 if empty or impossible else 0
