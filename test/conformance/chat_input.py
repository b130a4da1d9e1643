"""How the input of async_chat differs from CPython on purpose: rows of differences.py.

CPython's handle_read is given a view of the channel, in which the rows change what it sees.
"""

import asyncore
import sys
from asynchat import async_chat
from asyncore import ExitNow, dispatcher

from patching import View, forgiving, note, patch


class Step:
    """What a piece of input that is handed out stands for."""

    def __init__(self, channel, data):
        terminator = channel.get_terminator()
        buffer = channel.ac_in_buffer
        self.before = buffer
        self.rest = buffer[len(data):]
        self.counted = 0  # bytes that the terminator is to be reduced by
        self.found = False  # it has come
        if isinstance(terminator, int) and terminator:
            self.counted = len(data)
            self.found = len(data) == terminator
        elif terminator and self.rest.startswith(terminator):
            self.rest = self.rest[len(terminator):]
            self.found = True
        self.settings = note(channel).settings
        self.discards = note(channel).discards


class Input(View):
    """A channel whose handle_read runs."""

    # What rows set.
    ends_with_socket = False
    consumes_first = False
    keeps_terminator = False
    forgives = False

    def __init__(self, channel, data=None):
        super().__init__(channel)
        self.sockets = note(channel).sockets
        self.data = data  # in the place of what recv would return
        self.taken = False  # a handle_read in a method has gone on with it
        self.begin()

    def begin(self):
        """A turn of the loop."""
        self.step = None
        self.consumed = False  # what was collected is not in ac_in_buffer any more
        self.followed = False  # what follows it was done by a handle_read inside
        self.kept = False  # the terminator is not reduced

    def is_over(self):
        return self.ends_with_socket and note(self).sockets != self.sockets

    # What CPython's function uses of the channel, in this order

    def recv(self, size):
        data = self.viewed.recv(size) if self.data is None else self.data
        note(self).inputs.append(self)
        return data

    @property
    def ac_in_buffer(self):
        return b"" if self.is_over() else self.viewed.ac_in_buffer

    @ac_in_buffer.setter
    def ac_in_buffer(self, data):
        if self.consumed:
            self.consumed = False
        elif not self.is_over():
            self.viewed.ac_in_buffer = data

    def get_terminator(self):
        self.begin()
        return self.viewed.get_terminator()

    def collect_incoming_data(self, data):
        channel = self.viewed
        step = self.step = Step(channel, data)
        if self.consumes_first:
            channel.ac_in_buffer = step.rest
        try:
            self.call(lambda: channel.collect_incoming_data(data))
        except BaseException:
            if self.consumes_first and self.step and note(self).discards == step.discards:
                channel.ac_in_buffer = step.before
            raise
        self.consumed = self.consumes_first
        self.followed = self.step is None
        self.step = None
        self.kept = self.keeps_terminator and note(self).settings != step.settings

    @property
    def terminator(self):
        """Is read only to be reduced."""
        if self.followed or self.kept:
            self.followed = True
            return 0
        return self.viewed.terminator

    @terminator.setter
    def terminator(self, value):
        if not self.followed and not self.is_over():
            self.viewed.terminator = value

    def found_terminator(self):
        if not self.followed and not self.is_over():
            self.call(self.viewed.found_terminator)

    # What the rows do

    def call(self, method):
        with forgiving(self.forgives):
            method()

    def handle_error(self):
        self.call(self.viewed.handle_error)

    def take_over(self):
        """A handle_read in a method goes on behind what is being handed out."""
        step, self.step = self.step, None
        self.taken = True
        if step is None or self.is_over():
            return
        if step.counted and step.found:
            self.viewed.terminator = 0
        elif step.counted and not (self.keeps_terminator
                                   and note(self).settings != step.settings):
            self.viewed.terminator -= step.counted
        if step.found:
            self.call(self.viewed.found_terminator)


hand_out = async_chat.handle_read  # CPython's


def run(turn):
    inputs = note(turn).inputs
    count = len(inputs)
    try:
        hand_out(turn)
        while turn.taken:  # what a handle_read inside has left
            turn.taken = False
            turn.data = b""
            hand_out(turn)
    finally:
        del inputs[count:]


def look_at_input():
    @patch(async_chat, "handle_read")
    def handle_read(original, channel):
        inputs = note(channel).inputs
        if inputs and Input.consumes_first:
            inputs[-1].take_over()
        run(Input(channel))

    @patch(async_chat, "set_terminator")
    def set_terminator(original, channel, terminator):
        original(channel, terminator)
        note(channel).settings += 1

    @patch(async_chat, "discard_buffers")
    def discard_buffers(original, channel):
        original(channel)
        note(channel).discards += 1


# --- the rows ------------------------------------------------------------------------------------


def difference_stops_after_close():
    """after close(), or with another socket, async_chat goes on handing out what it has read, and
    what was held back goes in front of the next connection's input | it stops, and the rest is
    dropped"""
    Input.ends_with_socket = True

    def drop(original, channel, *args):
        if isinstance(channel, async_chat):
            channel.ac_in_buffer = b""
            note(channel).discards += 1
        original(channel, *args)

    patch(dispatcher, "close")(drop)
    patch(dispatcher, "set_socket")(drop)


def difference_nested_collect():
    """a pass in collect_incoming_data is given the same input again | what was handed out is
    consumed first, and the pass goes on behind it"""
    Input.consumes_first = True


def difference_terminator_in_collect():
    """a number that collect_incoming_data sets is reduced by what was collected, and other
    terminators fail there | it stands"""
    Input.keeps_terminator = True


def difference_held_back_at_end():
    """at the end of the input a held-back beginning of a terminator is not handed out | it is
    collected before handle_close"""
    def handled(channel, method):
        """Whether it has not failed."""
        try:
            with forgiving():
                method()
        except ExitNow:
            raise
        except Exception:
            with forgiving():
                channel.handle_error()
            return False
        return True

    def hand_out_rest(channel, goes_on):
        def run_or_drop():
            before = len(channel.ac_in_buffer)
            try:
                run(Input(channel, b""))
            except BaseException:
                if goes_on() and len(channel.ac_in_buffer) >= before:
                    channel.ac_in_buffer = b""
                raise

        while goes_on() and channel.ac_in_buffer and not handled(channel, run_or_drop):
            pass

    def end_of_input(channel):
        """Whether handle_close is due."""
        first = note(channel).sockets
        goes_on = lambda: note(channel).sockets == first
        if note(channel).inputs:
            handled(channel, note(channel).inputs[-1].take_over)
        hand_out_rest(channel, goes_on)
        if goes_on() and channel.ac_in_buffer:
            data, channel.ac_in_buffer = channel.ac_in_buffer, b""
            handled(channel, lambda: channel.collect_incoming_data(data))
        return goes_on()

    @patch(async_chat, "recv")
    def recv(original, channel, size):
        def handle_close():
            try:
                same = end_of_input(channel)
            except BaseException as error:  # which CPython would take for one of recv
                failures.append(error)
                return
            if same:
                channel.handle_close()

        failures = []
        view = View(channel)
        view.handle_close = handle_close
        data = original(view, size)
        if failures:
            raise failures[0]
        return data

    @patch(asyncore, "readwrite")
    def readwrite(original, channel, flags):
        def handle_close():
            # An error of a handler that closes is not the end.
            if sys.exc_info()[1] is not outside or end_of_input(channel):
                channel.handle_close()

        outside = sys.exc_info()[1]
        view = View(channel)
        if isinstance(channel, async_chat):
            view.handle_close = handle_close
        original(view, flags)


def difference_no_terminator():
    """a channel of which no terminator was set fails when it reads | everything is collected"""
    async_chat.terminator = None
