"""How we differ from CPython on purpose: each row of the README's table as a patch on CPython.

A patch is a function difference_NAME; its docstring is the row: what CPython does, and what we do.
What the patches share comes first: a look at each pass and at the sockets that channels have had.
"""

import array
import asyncore
import contextlib
import errno
import fcntl
import functools
import math
import os
import select
import socket
import stat
import termios
import time
from asyncore import dispatcher, dispatcher_with_send

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


class View:
    """A channel, but for what is set here: CPython's functions can be given one."""

    def __init__(self, channel):
        self.viewed = channel

    def __getattr__(self, name):
        return getattr(self.viewed, name)


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


def note(channel):
    channel = getattr(channel, "viewed", channel)
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


# --- the rows ------------------------------------------------------------------------------------


def difference_hang_up_after_data():
    """poll mode: a hang-up closes after one read, and the rest of what arrived is lost | what has
    arrived is read first"""
    @flag_rules.append
    def not_while_there_is_data(channel, flags, mask, first):
        waiting = array.array("i", [0])
        if mask & flags & HANG_UP and flags & select.POLLIN and has_socket(channel):
            with contextlib.suppress(OSError):
                fcntl.ioctl(channel.socket.fileno(), termios.FIONREAD, waiting)
        return waiting[0] == 0


def difference_closed_channel():
    """a channel closed earlier in the pass still gets the rest of its events, what is called on it
    calls handle_close again, and close_all calls its close | nothing is called on a closed channel;
    send and recv return 0"""
    flag_rules.append(lambda channel, flags, mask, first: note(channel).sockets == first)

    def unless_closed(channel, handler):
        first = note(channel).sockets
        return lambda: handler() if note(channel).sockets == first else None

    def after_connect(original, channel):
        view = View(channel)
        view.handle_read = unless_closed(channel, channel.handle_read)
        view.handle_write = unless_closed(channel, channel.handle_write)
        original(view)

    patch(dispatcher, "handle_read_event")(after_connect)
    patch(dispatcher, "handle_write_event")(after_connect)

    @patch(dispatcher, "send")
    def send(original, channel, data):
        return 0 if note(channel).closed else original(channel, data)

    @patch(dispatcher, "recv")
    def recv(original, channel, size):
        if note(channel).closed:
            return b""
        view = View(channel)
        view.handle_close = unless_closed(channel, channel.handle_close)
        return original(view, size)

    @patch(dispatcher_with_send, "send")
    def queue_and_send(original, channel, data):
        return None if note(channel).closed else original(channel, data)

    @patch(asyncore, "close_all")
    def close_all(original, map=None, ignore_all=False):
        members = asyncore.socket_map if map is None else map

        class Closing(View):
            def close(self):
                if not note(self).closed:
                    self.viewed.close()

        class Members:
            clear = members.clear

            def values(self):
                return [Closing(channel) for channel in members.values()]

        original(Members(), ignore_all)


def difference_closed_while_asked():
    """a channel that a predicate of another takes out of the map is asked all the same, and waited
    for; if it was closed the loop ends with EBADF | it is not asked, nor waited for"""
    def still_there(turn, channel, direction):
        return any(answer.channel is channel and note(channel).entries == answer.entries
                   and turn.members.get(fd) is channel for fd, answer in turn.asked.items())

    ask_rules.append(still_there)
    watch_rules.append(still_there)


def difference_readiness_of_a_socket():
    """a new channel that got a closed one's descriptor, or the same channel reconnecting, gets the
    old one's events, and even a false handle_connect | readiness belongs to the socket"""
    @serve_rules.append
    def same_socket(turn, channel, direction):
        return any(answer.channel is channel and note(channel).sockets == answer.sockets
                   for answer in turn.asked.values())


def difference_nested_pass():
    """after a nested pass the outer one dispatches the same readiness again | the nested pass has
    used it up"""
    @serve_rules.append
    def not_used_up(turn, channel, direction):
        return channel._fileno not in turn.used_up


def difference_close_in_handle_connect():
    """close() in handle_connect leaves connected true | it stays closed"""
    @patch(dispatcher, "handle_connect_event")
    def handle_connect_event(original, channel):
        first = note(channel).sockets
        original(View(channel))  # which gets the changes
        if note(channel).sockets == first:
            channel.connected = True
            channel.connecting = False


def difference_replaced_socket():
    """a channel that is given a second socket keeps the first one's descriptor in the map, closed,
    and the loop ends with EBADF | the first one is taken out and closed"""
    def replace(original, channel, *args):
        old, fd, members = getattr(channel, "socket", None), channel._fileno, channel._map
        original(channel, *args)
        if old is not None and old is not channel.socket and old.fileno() >= 0:
            if members.get(fd) is channel:
                del members[fd]
            with contextlib.suppress(OSError):
                old.close()

    patch(dispatcher, "set_socket")(replace)
    patch(asyncore.file_dispatcher, "set_file")(replace)


def difference_moved_channel():
    """add_channel after del_channel puts the channel under None into the map, and the loop fails;
    add_channel(other) leaves it in the first map, too | it comes back; it is moved"""
    @patch(dispatcher, "add_channel")
    def add_channel(original, channel, map=None):
        members = channel._map if map is None else map
        if not has_socket(channel):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if members is not channel._map:
            channel.del_channel()
            channel._map = members
        channel._fileno = channel.socket.fileno()
        original(channel, members)


def difference_accept_without_descriptors():
    """accept failing with EMFILE, ENFILE, ENOBUFS or ENOMEM closes the listener | it logs that once
    and does not accept for a moment"""
    passing = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

    @patch(dispatcher, "accept")
    def accept(original, channel):
        try:
            pair = original(channel)
        except OSError as error:
            if error.errno not in passing:
                raise
            note(channel).resumes = time.monotonic() + 0.1
            if not note(channel).told:
                note(channel).told = True
                channel.log_info(f"accept: {error.strerror}, waiting", "error")
            return None
        note(channel).told = note(channel).told and pair is None
        return pair

    @watch_rules.append
    def not_paused(turn, channel, direction):
        return direction == WRITE or time.monotonic() >= note(channel).resumes

    @changes_of_mind.append
    def end_of_pause(turn):
        now = time.monotonic()
        return min((note(channel).resumes - now for channel in turn.members.values()
                    if note(channel).resumes > now), default=None)


def difference_accepted_socket():
    """the socket that accept returns is blocking | non-blocking, as a channel makes it anyway"""
    @patch(dispatcher, "accept")
    def accept(original, channel):
        pair = original(channel)
        if pair:
            pair[0].setblocking(False)
        return pair


def difference_half_dead_peer():
    """an accepted socket whose peer is gone already makes getpeername fail, and the channel spins |
    given to a channel of the listener's map by the handler that accepted it, while the listener is
    open, it is connected, with accept's address (inet only: Unix sockets remember their peer)"""
    last = {}

    @patch(dispatcher, "accept")
    def accept(original, channel):
        pair = original(channel)
        if pair:
            last.update(pair=pair, map=channel._map, listener=channel.socket)
        return pair

    @patch(dispatcher, "__init__")
    def construct(original, channel, sock=None, map=None):
        original(channel, sock, map)
        if sock and last.get("pair", [None])[0] is sock and not channel.connected \
                and channel._map is last["map"] and last["listener"].fileno() >= 0 \
                and sock.family != socket.AF_UNIX:
            channel.connected = True
            channel.addr = last["pair"][1]

    def forget(original, *args):
        try:
            original(*args)
        finally:
            last.clear()

    for name in ("read", "write", "_exception", "readwrite"):
        patch(asyncore, name)(forget)


def difference_adopted_listener():
    """a listening socket that is given to a channel is taken for an unconnected one | it accepts"""
    @patch(dispatcher, "__init__")
    def construct(original, channel, sock=None, map=None):
        original(channel, sock, map)
        if sock and not channel.connected and sock.getsockopt(socket.SOL_SOCKET,
                                                              socket.SO_ACCEPTCONN):
            channel.accepting = True
            channel.addr = sock.getsockname()


def difference_unconnected_stream():
    """a stream socket of create_socket that is neither connecting, connected nor listening is
    polled, and spins | it is watched once it is one of those"""
    @patch(dispatcher, "create_socket")
    def create_socket(original, channel, family=socket.AF_INET, type=socket.SOCK_STREAM):
        original(channel, family, type)
        note(channel).created = type == socket.SOCK_STREAM

    @answer_rules.append
    def is_going_somewhere(turn, channel, direction):
        return (not note(channel).created or channel.connected or channel.connecting
                or channel.accepting)


def difference_recv_without_data():
    """recv on EAGAIN raises, and the default handler closes | a handler that lets EAGAIN out has
    not failed"""
    def tolerant(function):
        def call():
            try:
                return function()
            except OSError as error:
                if error.errno != errno.EAGAIN:
                    raise
                return None
        return call

    def tolerate(original, channel, *flags):
        view = View(channel)
        for name in ("handle_read_event", "handle_write_event", "handle_expt_event",
                     "handle_close", "handle_error"):
            setattr(view, name, tolerant(getattr(channel, name)))
        original(view, *flags)

    for name in ("read", "write", "_exception", "readwrite"):
        patch(asyncore, name)(tolerate)


def difference_send_before_the_connection():
    """dispatcher_with_send.send before the connection is made closes the channel | it is queued;
    without a socket it fails, and queues nothing"""
    @patch(dispatcher_with_send, "send")
    def send(original, channel, data):
        def initiate_send():
            channel.out_buffer = view.out_buffer
            if channel.connected:
                channel.initiate_send()

        if channel.socket is None and not note(channel).closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        view = View(channel)
        view.initiate_send = initiate_send
        original(view, data)


def difference_poll_timeout():
    """poll mode cuts the timeout to whole milliseconds, and spins below one | it is rounded up"""
    @patch(asyncore, "poll2")
    def poll2(original, timeout=0.0, map=None):
        original(timeout if timeout is None else math.ceil(timeout * 1000 - 1e-6) / 1000 + 1e-6,
                 map)
    asyncore.poll3 = asyncore.poll2


def difference_negative_timeout():
    """a negative timeout is an error in select mode, and none in poll mode | none in both"""
    def none_for_negative(original, timeout=0.0, map=None):
        original(None if timeout is not None and timeout < 0 else timeout, map)

    patch(asyncore, "poll")(none_for_negative)
    patch(asyncore, "poll2")(none_for_negative)
    asyncore.poll3 = asyncore.poll2


def difference_unread_out_of_band_data():
    """with the default handle_expt, out-of-band data that is not read logs a warning at every pass
    | such a channel does not watch for it"""
    methods = ("handle_expt", "handle_expt_event", "log_info")

    @answer_rules.append
    def looks_at_it(turn, channel, direction):
        return direction != EXCEPTION or any(
            getattr(type(channel), name) is not getattr(dispatcher, name) for name in methods)


def difference_lost_descriptor():
    """a descriptor that is closed behind the loop's back ends the loop in select mode, and calls
    handle_close in poll mode | handle_close in both, when it is next to be watched for more"""
    def is_open(fd):
        try:
            return fcntl.fcntl(fd, fcntl.F_GETFD) >= 0
        except OSError:
            return False

    def is_told_of_writing(fd):
        poller = select.poll()
        poller.register(fd, select.POLLOUT)
        return bool(poller.poll(0))

    @ready_at_once.append
    def lost(turn, watched):
        found = []
        for fd, answer in turn.asked.items():
            notes = note(answer.channel)
            at_once = (fd in watched[WRITE] and answer.at_once
                       and (not turn.use_poll or is_told_of_writing(fd)))
            now = {direction for direction in (READ, WRITE) if fd in watched[direction]}
            now -= {WRITE} if at_once else set()
            if not is_open(fd):
                for fds in watched.values():
                    fds[:] = [other for other in fds if other != fd]
                notes.lost = not now <= notes.watched or at_once and turn.use_poll
                if notes.lost:
                    found.append((fd, EXCEPTION))
                elif at_once:
                    found.append((fd, WRITE))
            notes.watched = now
        return found

    @patch(asyncore, "_exception")
    def exception(original, channel):
        if note(channel).lost:
            asyncore.readwrite(channel, select.POLLNVAL)
        else:
            original(channel)


def difference_write_without_asking():
    """handle_write is called when the kernel says that the socket can be written | in select mode a
    connected stream channel is called without asking first; when send then comes up short, the
    kernel is asked before the next call"""
    @patch(dispatcher, "send")
    def send(original, channel, data):
        note(channel).ask_write = True  # unless it returns
        sent = original(channel, data)
        note(channel).ask_write = sent == 0 or sent < len(data)
        return sent

    @answer_hooks.append
    def taken_to_be_writable(answer):
        notes, sock = note(answer.channel), answer.channel.socket
        if not answer.wants_write:
            notes.ask_write = notes.asks_write = False
        elif (answer.connected and getattr(sock, "type", 0) == socket.SOCK_STREAM
              and not notes.ask_write and not notes.asks_write):
            notes.ask_write = answer.at_once = True
        else:
            notes.ask_write = notes.asks_write = True

    @ready_at_once.append
    def written_to_at_once(turn, watched):
        return [(fd, WRITE) for fd in watched[WRITE]
                if turn.asked[fd].at_once and not turn.use_poll]


def difference_blocking_mode_of_files():
    """file_dispatcher leaves O_NONBLOCK on the open file | what it set, it restores when it closes;
    regular files are left alone"""
    class Wrapper(asyncore.file_wrapper):
        restores = False

        def set_nonblocking(self):
            self.restores = os.get_blocking(self.fd)
            os.set_blocking(self.fd, False)

        def close(self):
            with contextlib.suppress(OSError):
                if self.restores:
                    os.set_blocking(self.fd, True)
            self.restores = False
            super().close()

    @patch(asyncore.file_dispatcher, "set_file")
    def set_file(original, channel, fd):
        original(channel, fd)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            channel.socket.set_nonblocking()

    @patch(asyncore.file_dispatcher, "__init__")
    def construct(original, channel, fd, map=None):
        blocking = os.get_blocking(fd)
        original(channel, fd, map)
        os.set_blocking(fd, blocking and not channel.socket.restores)

    asyncore.file_wrapper = Wrapper


def difference_no_socket():
    """what a channel without a socket lacks, or a file, is an AttributeError, which goes to
    handle_error; a closed file answers getsockopt | EBADF, or ENOTSOCK, and EBADF"""
    class Wrapper(asyncore.file_wrapper):
        def getsockopt(self, *args):
            if self.fd < 0:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            return super().getsockopt(*args)

    asyncore.file_wrapper = Wrapper

    def with_errno(original, channel, *args):
        try:
            return original(channel, *args)
        except AttributeError:
            number = errno.EBADF
            if has_socket(channel):
                number = errno.ENOTSOCK
            raise OSError(number, os.strerror(number)) from None

    for name in ("handle_expt_event", "handle_connect_event", "send", "recv", "accept", "connect",
                 "bind", "listen", "set_reuse_addr"):
        patch(dispatcher, name)(with_errno)


def difference_address_of_a_name():
    """addr after connect((name, port)) and bind is the name | the address that it has"""
    def with_address(original, channel, address):
        if isinstance(address, tuple) and hasattr(channel.socket, "family"):
            address = socket.getaddrinfo(*address[:2], channel.socket.family, channel.socket.type,
                                         flags=socket.AI_PASSIVE)[0][4]
        original(channel, address)

    patch(dispatcher, "connect")(with_address)
    patch(dispatcher, "bind")(with_address)


DIFFERENCES = {name.removeprefix("difference_"): function
               for name, function in list(globals().items()) if name.startswith("difference_")}


def apply(without=()):
    """Patches CPython with all differences but these."""
    take_notes()
    look_at_passes()
    for name, function in DIFFERENCES.items():
        if name not in without:
            function()
