"""How we differ from CPython on purpose: each row of the README's table as a patch on CPython.

A patch is a function difference_NAME; its docstring is the row: what CPython does, and what we do.
Those of asynchat are in chat_input.py and chat_output.py, what the patches share in patching.py.
"""

import array
import asyncore
import contextlib
import errno
import fcntl
import math
import os
import select
import socket
import stat
import termios
import time
from asyncore import dispatcher, dispatcher_with_send

import chat_input
import chat_output
from patching import (
    EXCEPTION, HANG_UP, READ, WRITE, View, answer_hooks, answer_rules, ask_rules,
    changes_of_mind, flag_rules, forgiving, has_socket, look_at_passes, note, patch, ready_at_once,
    serve_rules, take_notes, watch_rules)


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
    calls handle_close again, as does an error of the handler that closed it, and close_all calls its
    close | nothing is called on a closed channel but handle_error; send and recv return 0"""
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

    def unless_it_is_closed(channel):
        return None if note(channel).closed else channel.handle_close()

    @patch(dispatcher, "handle_error")
    def handle_error(original, channel):
        view = View(channel)
        view.handle_close = lambda: unless_it_is_closed(channel)
        original(view)

    @patch(asyncore, "readwrite")
    def readwrite(original, channel, flags):
        view = View(channel)
        view.handle_close = lambda: unless_it_is_closed(channel)
        original(view, flags)

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
            with forgiving():
                function()
        return call

    def tolerate(original, channel, *flags):
        view = View(channel)
        for name in ("handle_read_event", "handle_write_event", "handle_expt_event",
                     "handle_close", "handle_error"):
            setattr(view, name, tolerant(getattr(channel, name)))
        original(view, *flags)

    for name in ("read", "write", "_exception", "readwrite"):
        patch(asyncore, name)(tolerate)
    chat_input.Input.forgives = True  # its methods
    chat_output.Sending.forgives = True
    chat_output.Queued.forgives = True  # but a producer has failed: it would spin


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


def is_told_of_writing(fd):
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(poller.poll(0))


def difference_lost_descriptor():
    """a descriptor that is closed behind the loop's back ends the loop in select mode, and calls
    handle_close in poll mode | handle_close in both, when it is next to be watched for more"""
    def is_open(fd):
        try:
            return fcntl.fcntl(fd, fcntl.F_GETFD) >= 0
        except OSError:
            return False

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
        for fd in watched[WRITE]:
            if turn.use_poll and turn.asked[fd].at_once and not is_told_of_writing(fd):
                note(turn.asked[fd].channel).asks_write = True
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
               for rows in (globals(), vars(chat_input), vars(chat_output))
               for name, function in list(rows.items()) if name.startswith("difference_")}


def apply(without=()):
    """Patches CPython with all differences but these."""
    take_notes()
    look_at_passes()
    chat_input.look_at_input()
    chat_output.look_at_output()
    for name, function in DIFFERENCES.items():
        if name not in without:
            function()
