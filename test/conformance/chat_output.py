"""How the output of async_chat differs from CPython on purpose: rows of differences.py.

Where output is gathered, this is the rule that one send follows; a class that has a send of its own
is left to CPython's initiate_send, which is given a view of the channel.
"""

import asyncore
import contextlib
import errno
import os
from asynchat import async_chat
from asyncore import ExitNow, dispatcher

from patching import (
    View, attribute_hooks, forgiving, has_socket, is_eagain, note, patch, socket_hooks)


class Queued:
    """A producer in the queue of a channel."""

    # What rows set.
    drops = False
    forgives = False

    def __init__(self, channel, producer):
        self.channel = channel
        self.producer = producer
        self.busy = False  # it is making something

    def is_queued(self):
        return any(item is self for item in self.channel.producer_fifo)

    def more(self):
        before, self.busy = self.busy, True
        try:
            data = self.producer.more()
        except OSError as error:
            if not self.forgives or not is_eagain(error):
                raise
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from None
        finally:
            self.busy = before
        if self.drops and not self.is_queued():
            self.channel.producer_fifo.appendleft(self)  # for CPython to take it away
            return b""
        return data


class Sending(View):
    """A channel of which CPython's initiate_send runs."""

    # What rows set.
    once = False
    forgives = False

    def send(self, data):
        before, note(self).sends = note(self).sends, True
        try:
            with forgiving(self.forgives):
                return self.viewed.send(data)
            return 0
        finally:
            note(self).sends = before

    def handle_error(self):
        with forgiving(self.forgives):
            self.viewed.handle_error()

    def is_busy(self):
        fifo = self.producer_fifo
        return self.once and (note(self).sends or bool(fifo) and getattr(fifo[0], "busy", False))


def look_at_output():
    @patch(async_chat, "push_with_producer")
    def push_with_producer(original, channel, producer):
        original(channel, Queued(channel, producer))

    @patch(async_chat, "initiate_send")
    def initiate_send(original, channel):
        sending = Sending(channel)
        if not sending.is_busy():
            original(sending)


class Gathering:
    """Output of the handlers of a map."""

    def __init__(self, members):
        self.members = members  # kept, so that no other map gets its id
        self.in_handler = False
        self.flushing = False
        self.channels = []  # that have pushed, in order


gatherings = {}  # by the id of the map


def gathering_of(members):
    members = asyncore.socket_map if members is None else members
    return gatherings.setdefault(id(members), Gathering(members))


def has_own_send(channel):
    return type(channel).send is not async_chat.send


def ungather(channel):
    channels = gathering_of(channel._map).channels
    channels[:] = [other for other in channels if other is not channel]


def first_other(fifo):
    """The index of the first that is no data."""
    return next((i for i, item in enumerate(fifo) if not isinstance(item, bytes)), len(fifo))


def front_of(channel):
    """What is offered to the socket: what lies in front, and what producers add."""
    fifo = channel.producer_fifo
    while True:
        index = first_other(fifo)
        front = b"".join(list(fifo)[:index])
        if len(front) >= channel.ac_out_buffer_size or index == len(fifo):
            break
        producer = fifo[index]
        if producer is None or producer.busy:
            break
        data = producer.more()
        index = first_other(fifo)
        if data:
            fifo.insert(index, data)
        elif index < len(fifo):
            del fifo[index]


def offered(channel):
    front = []
    for item in channel.producer_fifo:
        if not isinstance(item, bytes):
            break
        front.append(item)
    return b"".join(front)[:channel.ac_out_buffer_size]


def drop_front(channel, count):
    fifo = channel.producer_fifo
    while count > 0:
        item = fifo.popleft()
        if len(item) > count:
            fifo.appendleft(item[count:])
        count -= len(item)


def is_done(channel):
    fifo = channel.producer_fifo
    return bool(fifo) and fifo[0] is None


@contextlib.contextmanager
def its_output_over(channel):
    """close sends no more."""
    note(channel).over, before = True, note(channel).over
    try:
        yield
    finally:
        note(channel).over = before


def close_is_due(channel):
    del channel.producer_fifo[0]
    with its_output_over(channel):
        channel.handle_close()


def send_front(channel):
    """With the method: whether there was something to send."""
    data = offered(channel)
    if not data and has_socket(channel):
        return False
    note(channel).sends_queue = True
    with its_output_over(channel):  # for a handle_close in it
        try:
            sent = channel.send(data)
        except OSError as error:
            if not is_eagain(error):
                with forgiving():
                    channel.handle_error()
        else:
            drop_front(channel, sent)
    return True


def send_queue(channel, may_close):
    sockets = note(channel).sockets
    if not channel.connected or not channel.producer_fifo:
        return
    if is_done(channel):
        if may_close:
            close_is_due(channel)
        return
    failure = None
    try:
        if has_socket(channel):
            front_of(channel)
    except BaseException as error:
        failure = error
    sent = note(channel).sockets == sockets and send_front(channel)
    if failure is not None:
        raise failure
    if not sent and may_close and channel.connected and is_done(channel):
        close_is_due(channel)


def send_queued(channel, may_close):
    try:
        send_queue(channel, may_close)
    finally:
        ungather(channel)


def send_gathered(channel):
    """What the socket takes of it, now, without calling a method."""
    channels = gathering_of(channel._map).channels
    sockets = note(channel).sockets
    fifo = getattr(channel, "producer_fifo", ())
    if not any(other is channel for other in channels):
        return
    while fifo and has_socket(channel) and not is_done(channel) and not note(channel).over:
        once = first_other(fifo) < len(fifo)
        with contextlib.suppress(BaseException):
            front_of(channel)
        if note(channel).sockets != sockets or not send_some(channel) or once:
            break
    ungather(channel)


def send_some(channel):
    """Past the method: whether there was something, and the socket took all of it."""
    data = offered(channel)
    sent = 0
    if data:
        with contextlib.suppress(OSError):
            sent = channel.socket.send(data)
        drop_front(channel, sent)
    return 0 < sent == len(data)


def send_last(channel):
    """What the socket takes of all that is queued, but for what producers would make."""
    send_gathered(channel)
    if (isinstance(channel, async_chat) and not has_own_send(channel) and channel.connected
            and not note(channel).over):
        while has_socket(channel) and send_some(channel):
            pass


def flush_one(channel):
    gathering = gathering_of(channel._map)
    before, gathering.in_handler = gathering.in_handler, True
    try:
        with forgiving():
            try:
                send_queued(channel, False)
            except ExitNow:
                raise
            except Exception as error:
                if not is_eagain(error):
                    channel.handle_error()
    finally:
        gathering.in_handler = before


def flush(gathering):
    if gathering.flushing:
        return
    gathering.flushing = True
    failures = []
    for _ in range(len(gathering.channels)):
        try:
            if gathering.channels:
                flush_one(gathering.channels[0])
        except BaseException as error:
            failures.append(error)
    gathering.flushing = False
    if failures:
        raise failures[0]


def gather_in_handlers():
    def serve(original, channel, *flags):
        gathering = gathering_of(channel._map)
        before, gathering.in_handler = gathering.in_handler, True
        failed = True
        try:
            original(channel, *flags)
            failed = False
        finally:
            try:
                with contextlib.suppress(BaseException if failed else ()):
                    flush(gathering)
            finally:
                gathering.in_handler = before

    for name in ("read", "write", "_exception", "readwrite"):
        patch(asyncore, name)(serve)

    def one_pass(original, timeout=0.0, map=None):
        gathering = gathering_of(map)
        before, gathering.in_handler = gathering.in_handler, False
        flushing, gathering.flushing = gathering.flushing, False
        try:
            flush(gathering)
            gathering.flushing = flushing
            original(timeout, map)
        finally:
            gathering.in_handler, gathering.flushing = before, flushing

    patch(asyncore, "poll")(one_pass)
    patch(asyncore, "poll2")(one_pass)
    asyncore.poll3 = asyncore.poll2


def send_before_the_socket_is_used():
    def use(original, channel, *args):
        send_last(channel)
        original(channel, *args)

    patch(dispatcher, "close")(use)
    patch(dispatcher, "set_socket")(use)
    socket_hooks.append(send_gathered)

    @attribute_hooks.append
    def disconnect(channel, name, value):
        if name == "connected" and not value:
            ungather(channel)

    @patch(dispatcher, "send")
    def send(original, channel, data):
        if note(channel).sends_queue:
            note(channel).sends_queue = False
        else:
            send_gathered(channel)
        return original(channel, data)

    @patch(dispatcher, "add_channel")
    def add_channel(original, channel, map=None):
        if map is not None and map is not channel._map:
            ungather(channel)
        original(channel, map)


# --- the rows ------------------------------------------------------------------------------------


def difference_output_gathered():
    """push sends at once, even several times in a handler, one piece each; handle_close may be
    called in it; a push of nothing sends an empty piece; close sends nothing of what is queued |
    unless the class has a send of its own: in a handler output is gathered, and sent at its end,
    with as much as ac_out_buffer_size says in one send; close sends what the socket takes"""
    gather_in_handlers()
    send_before_the_socket_is_used()

    def pushed(channel):
        gathering = gathering_of(channel._map)
        if not gathering.in_handler or not channel.connected:
            send_queued(channel, True)
        elif not any(other is channel for other in gathering.channels):
            gathering.channels.append(channel)

    @patch(async_chat, "push")
    def push(original, channel, data):
        if has_own_send(channel):
            original(channel, data)
        elif data:
            channel.producer_fifo.append(data)
            pushed(channel)

    @patch(async_chat, "push_with_producer")
    def push_with_producer(original, channel, producer):
        if has_own_send(channel):
            original(channel, producer)
        else:
            channel.producer_fifo.append(Queued(channel, producer))
            pushed(channel)

    @patch(async_chat, "initiate_send")
    def initiate_send(original, channel):
        if has_own_send(channel):
            original(channel)
        else:
            send_queued(channel, True)


def difference_nested_send():
    """a send of one's own, or a producer, in which more is pushed is called again inside itself for
    what is being sent: pieces change places, and data is lost | what is pushed inside waits"""
    Sending.once = True


def difference_discard_in_more():
    """what a producer makes that discards the buffers is queued all the same, and one that makes
    nothing fails with IndexError | it is dropped with the rest"""
    Queued.drops = True


def begin():
    """A scenario."""
    gatherings.clear()
