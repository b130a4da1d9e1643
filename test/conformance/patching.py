"""What the patches of differences.py share: patching, and a look at each pass and at the sockets
that channels have had.
"""

import asyncore
import contextlib
import errno
import functools
import select
from asyncore import dispatcher

# --- patching ------------------------------------------------------------------------------------


def patch(owner, name):
    """Puts a function in the place of owner.name; it gets what was there as its first argument."""
    def replace(function):
        original = getattr(owner, name)

        @functools.wraps(original)
        def replacement(*args, **kwargs):
            return function(original, *args, **kwargs)
        setattr(owner, name, replacement)
    return replace


def is_eagain(error):
    return isinstance(error, OSError) and error.errno == errno.EAGAIN


@contextlib.contextmanager
def forgiving(forgives=True):
    """EAGAIN is no failure."""
    try:
        yield
    except OSError as error:
        if not forgives or not is_eagain(error):
            raise


class View:
    """A channel, but for what is set here: CPython's functions can be given one."""

    def __init__(self, channel):
        self.viewed = channel

    def __getattr__(self, name):
        return getattr(self.viewed, name)

    def __repr__(self):
        return repr(self.viewed)


# --- what is known of a channel ------------------------------------------------------------------


class Notes:
    def __init__(self):
        self.sockets = 0  # that it has had, or lost: readiness belongs to one of them
        self.entries = 0  # into a map
        self.closed = False  # since close, until it gets another socket
        self.created = False  # its socket is a stream one of create_socket's
        self.ask_write = False  # the last send came up short
        self.asks_write = False  # the kernel is asked whether it can be written to
        self.watched = set()  # what it was watched for in the last pass
        self.lost = False  # its descriptor was closed by somebody else
        self.resumes = 0  # when a listener without descriptors accepts again
        self.told = False  # ... which it has logged

        # Of an async_chat.
        self.inputs = []  # handle_reads that run, the innermost last
        self.settings = 0  # of its terminator, how often
        self.discards = 0  # of its input
        self.sends = False  # its method send is running, of what is queued
        self.sends_queue = False  # the next send is of what is queued
        self.over = False  # close sends no more of that


def note(channel):
    while isinstance(channel, View):
        channel = channel.viewed
    if "notes" not in channel.__dict__:
        channel.__dict__["notes"] = Notes()
    return channel.__dict__["notes"]


def has_socket(channel):
    sock = getattr(channel, "socket", None)
    return sock is not None and sock.fileno() >= 0


def take_notes():
    @patch(dispatcher, "close")
    def close(original, channel):
        note(channel).sockets += has_socket(channel)
        note(channel).closed = True
        note(channel).ask_write = False
        original(channel)

    @patch(dispatcher, "add_channel")
    def add_channel(original, channel, map=None):
        members = channel._map if map is None else map
        if members.get(channel._fileno) is not channel:
            note(channel).entries += 1
            note(channel).resumes = 0
        note(channel).watched = set()
        note(channel).asks_write = note(channel).lost = False
        original(channel, map)

    def new_socket(original, channel, *args):
        note(channel).sockets += 1
        note(channel).closed = note(channel).created = note(channel).ask_write = False
        note(channel).told = False
        original(channel, *args)

    patch(dispatcher, "set_socket")(new_socket)
    patch(asyncore.file_dispatcher, "set_file")(new_socket)


def unwatch(members):
    """Where the loop is the host's, it leaves no event: the next one begins anew."""
    for channel in (asyncore.socket_map if members is None else members).values():
        note(channel).watched = set()
        note(channel).ask_write |= note(channel).asks_write
        note(channel).asks_write = False


socket_hooks = []  # called with a channel whose socket is about to be written to, past its methods
attribute_hooks = []  # called with a channel, an attribute that a program sets, and its value


# --- passes --------------------------------------------------------------------------------------

HANG_UP = select.POLLHUP | select.POLLERR | select.POLLNVAL
READ, WRITE, EXCEPTION = "read", "write", "exception"
FLAGS = {READ: select.POLLIN, WRITE: select.POLLOUT, EXCEPTION: select.POLLPRI}

passes = []  # that are running, the innermost last

# What patches add to a pass. Each says whether something may be: the first ones are called as
# rule(pass, channel, direction), the last as rule(channel, flags, mask, first).
ask_rules = []  # is the channel asked
answer_rules = []  # is what it answered heeded, as it is now
answer_hooks = []  # told of the answer
watch_rules = []  # and when the wait begins
serve_rules = []  # is a channel that is ready served
flag_rules = []  # are these flags of readwrite still there
# Functions of a pass and the descriptors to wait for, by direction, which return those that are
# ready at once, as pairs of descriptor and direction; in poll's way it is POLLNVAL that they get.
ready_at_once = []
# Functions of a pass, which return the seconds until a rule changes its mind, or None.
changes_of_mind = []


class Answer:
    """A channel as it was when it was asked what it is interested in."""

    def __init__(self, channel):
        self.channel = channel
        self.entries = note(channel).entries
        self.sockets = note(channel).sockets
        self.connected = False
        self.wants_write = False
        self.at_once = False  # it is ready without asking the kernel
        self.heeded = set()  # directions

    def end(self, turn, writable):
        self.connected = self.channel.connected
        self.heeded = {direction for direction in (READ, WRITE, EXCEPTION)
                       if turn.may(answer_rules, self.channel, direction)}
        self.wants_write = writable and not self.channel.accepting and WRITE in self.heeded
        if note(self.channel).entries == self.entries:
            for hook in answer_hooks:
                hook(self)


class Pass:
    def __init__(self, members, use_poll):
        self.members = members
        self.use_poll = use_poll
        self.asked = {}  # descriptor: answer
        self.used_up = set()  # descriptors, by nested passes

    def may(self, rules, channel, direction=None):
        return all(rule(self, channel, direction) for rule in rules)

    def wait(self, wanted, timeout, look):
        """What is ready, as look(descriptors, timeout) says it: in select's way a dictionary of
        lists, in poll's way one of flags."""
        watched = {direction: [fd for fd in fds if direction in self.asked[fd].heeded
                               and self.may(watch_rules, self.asked[fd].channel, direction)]
                   for direction, fds in wanted.items()}
        at_once = [item for rule in ready_at_once for item in rule(self, watched)]
        change = min((seconds for rule in changes_of_mind if (seconds := rule(self)) is not None),
                     default=None)
        if at_once:
            ready = look(watched, 0)
        elif change is not None and (timeout is None or change < timeout):
            ready = look(watched, change)
            if not any(ready.values()):
                return self.wait(wanted, timeout and timeout - change, look)
        else:
            ready = look(watched, timeout)
        for fd, direction in at_once:
            self.add(ready, fd, direction)
        self.used_up = set()
        for outer in passes[:-1]:
            if outer.members is self.members:
                outer.used_up.update(ready if self.use_poll else sum(ready.values(), []))
        return ready

    def add(self, ready, fd, direction):
        if self.use_poll:
            ready[fd] = select.POLLNVAL
        else:
            ready[direction] = [other for other in self.asked
                                if other in ready[direction] or other == fd]


class Asked(View):
    """A channel that is asked what it is interested in."""

    def __init__(self, turn, fd, channel):
        super().__init__(channel)
        self.turn = turn
        self.fd = fd

    def ask(self, predicate, direction):
        return self.turn.may(ask_rules, self.viewed, direction) and predicate()

    def readable(self):
        return self.ask(self.viewed.readable, READ)

    def writable(self):
        result = self.ask(self.viewed.writable, WRITE)
        self.turn.asked[self.fd].end(self.turn, result)
        return result


class Members:
    """The map, as a pass sees it."""

    def __init__(self, turn):
        self.turn = turn

    def __len__(self):
        return len(self.turn.members)

    def items(self):
        for fd, channel in list(self.turn.members.items()):
            self.turn.asked[fd] = Answer(channel)
        for fd, answer in list(self.turn.asked.items()):
            yield fd, Asked(self.turn, fd, answer.channel)

    def get(self, fd):
        channel = self.turn.members.get(fd)
        return channel if channel is not None and self.turn.may(serve_rules, channel) else None


class Flags(int):
    """readwrite's flags, which can vanish while it runs."""

    def __new__(cls, flags, channel):
        self = super().__new__(cls, flags)
        self.channel = channel
        self.first = note(channel).sockets
        return self

    def __and__(self, mask):
        return int(self) & mask if all(rule(self.channel, int(self), mask, self.first)
                                       for rule in flag_rules) else 0


class Select:
    """Stands in front of asyncore's select module."""

    def __init__(self, real):
        self.real = real

    def __getattr__(self, name):
        return getattr(self.real, name)

    def select(self, readers, writers, others, timeout):
        turn = passes[-1]
        wanted = {READ: readers, WRITE: writers, EXCEPTION: others}
        return turn.wait(wanted, timeout, lambda watched, seconds: dict(
            zip(watched, self.real.select(*watched.values(), seconds)))).values()

    def poll(self):
        return Poll(self.real)


class Poll:
    def __init__(self, real):
        self.real = real
        self.flags = {}

    def register(self, fd, flags):
        self.flags[fd] = flags

    def poll(self, milliseconds):
        turn = passes[-1]
        wanted = {direction: [fd for fd, flags in self.flags.items() if flags & flag]
                  for direction, flag in FLAGS.items()}
        timeout = None if milliseconds is None else milliseconds / 1000
        ready = turn.wait(wanted, timeout, self.poll_once)
        return [(fd, ready[fd]) for fd in turn.asked if fd in ready]

    def poll_once(self, watched, seconds):
        poller = self.real.poll()
        for fd in self.flags:
            flags = sum(FLAGS[direction] for direction, fds in watched.items() if fd in fds)
            if flags:
                poller.register(fd, flags)
        return dict(poller.poll(None if seconds is None else round(seconds * 1000)))


def look_at_passes():
    def one_pass(use_poll):
        def run(original, timeout=0.0, map=None):
            turn = Pass(asyncore.socket_map if map is None else map, use_poll)
            passes.append(turn)
            try:
                original(timeout, Members(turn))
            finally:
                passes.pop()
        return run

    patch(asyncore, "poll")(one_pass(False))
    patch(asyncore, "poll2")(one_pass(True))
    asyncore.poll3 = asyncore.poll2
    asyncore.select = Select(asyncore.select)

    @patch(asyncore, "readwrite")
    def readwrite(original, channel, flags):
        original(channel, Flags(flags, channel))
