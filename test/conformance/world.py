"""A scenario at work: its channels, the calls of their methods, and what these do."""

import asynchat
import asyncore
import contextlib
import errno
import os
import socket
import sys

import chat_verbs  # adds its verbs to the tables
import kernel
import scenario
from kernel import Raw, kind_of, nobody, settle
from tracing import Spent, as_errno, drained, error_name, normalise, pattern, shown
from verbs import CHANNEL, GLOBAL, PREDICATES, RAW, do_relent, is_with_send

for table, words in ((GLOBAL, scenario.GLOBAL), (RAW, scenario.RAW), (CHANNEL, scenario.CHANNEL)):
    assert table.keys() == words.keys(), table.keys() ^ words.keys()

MAPS = 4
MAX_CALLS = 2000  # of methods: then a scenario is stopped
MAX_DEPTH = 40  # of methods that call each other: then ExitNow

with open(os.path.join(os.path.dirname(__file__), "../../demo/lorem.txt"), "rb") as lorem:
    LOREM = lorem.read()

# --- channels ------------------------------------------------------------------------------------

SUPERS = {"dispatcher": asyncore.dispatcher,
          "dispatcher_with_send": asyncore.dispatcher_with_send,
          "file_dispatcher": asyncore.file_dispatcher,
          "async_chat": asynchat.async_chat}


def build_class(world, cls):
    base = SUPERS[cls.super]
    members = {method: traced(world, method, getattr(base, method), calls)
               for method, calls in cls.methods.items()}
    members.update((size, value) for size, value in cls.sizes.items() if value)
    return type(cls.name, (base,), {"__module__": "scenario", **members})


def traced(world, method, base_method, calls):
    def overriding(self, *args):
        return world.called(self, method, base_method, calls, args)
    return overriding


def address_kind(channel):
    for name in ("getpeername", "getsockname"):
        with contextlib.suppress(OSError, AttributeError):
            if getattr(channel.socket, name)() == channel.addr:
                return "peer" if name == "getpeername" else "self"
    return "other"


def state(world, channel):
    words = [name for name in ("connected", "accepting", "connecting", "closing")
             if getattr(channel, name)]
    words += [f"map{i}" for i, members in enumerate(world.maps)
              if any(member is channel for member in members.values())]
    if channel.addr is not None:
        words.append("addr=" + address_kind(channel))
    queued = len(getattr(channel, "out_buffer", b""))
    queued += sum(len(item) for item in getattr(channel, "producer_fifo", ())
                  if isinstance(item, bytes))
    if queued:
        words.append(f"out={queued}")
    return "[" + " ".join(words) + "]"


class Frame:
    """A call of a method that is overridden; or a step, with no channel."""

    def __init__(self, channel=None, call_super=None):
        self.channel = channel
        self.call_super = call_super
        self.value = None
        self.made = b""  # by a producer
        self.it = b""
        self.sock = None


def shown_arguments(method, args):
    if method in ("send", "collect_incoming_data"):
        return shown(args[0])
    if method == "recv":
        return str(args[0])
    if method == "log_info":
        args = (*args, "info")[:2]
    if method in ("log", "log_info"):
        return ", ".join('"' + normalise(str(arg)) + '"' for arg in args)
    if method == "handle_accepted":
        with contextlib.suppress(OSError):
            return "addr=peer" if args[0].getpeername() == args[1] else "addr=other"
        return "addr=other"
    if method == "handle_error":
        return error_name(sys.exc_info()[1]) if sys.exc_info()[1] else "none"
    return ""


def shown_result(channel, method, result):
    if method in PREDICATES:
        return f"= {int(bool(result))} "
    if method == "recv":
        return f"= {shown(result)} "
    if method == "send" and not is_with_send(channel):
        return f"= {result} "
    return "= "


# --- the scenario ----------------------------------------------------------------------------------


class World:
    def __init__(self, plan, trace, observer, attached=False):
        self.plan = plan
        self.attached = attached
        self.trace = trace
        self.observer = observer
        self.maps = [asyncore.socket_map] + [{} for _ in range(MAPS - 1)]
        self.classes = {name: build_class(self, cls) for name, cls in plan.classes.items()
                        if cls.super != "producer"}
        self.channels = {}
        self.raws = {}
        self.all = []
        self.frames = []
        self.calls = 0
        self.paths = 0
        self.producers = 0
        self.hogs = []

    # Methods

    def count_call(self):
        self.calls += 1
        if self.calls > MAX_CALLS or len(self.frames) >= MAX_DEPTH:
            raise Spent

    def called(self, channel, method, base_method, calls, args):
        self.count_call()
        number = channel.scenario_calls[method] = channel.scenario_calls.get(method, 0) + 1
        self.observer(channel, method)
        self.trace.call(f"{channel.scenario_name}.{method}({shown_arguments(method, args)})")
        frame = Frame(channel, lambda: base_method(channel, *args))
        if method in PREDICATES:
            frame.call_super = lambda: int(bool(base_method(channel)))
        if method == "handle_accepted":
            frame.sock = Raw("sock", kind_of(args[0]), args[0])
            frame.call_super = lambda: base_method(channel, frame.sock.take(), args[1])
        elif method == "collect_incoming_data":
            frame.it = args[0]
        try:
            result = self.run_method(frame, method,
                                     calls.get(number, calls.get(scenario.EVERY_CALL)))
        except BaseException as error:
            self.trace.result(f"! {error_name(error)} {state(self, channel)}")
            raise
        self.trace.result(shown_result(channel, method, result) + state(self, channel))
        return result

    def asked(self, producer, actions):
        """Of a producer: what it makes."""
        self.count_call()
        self.trace.call(producer.name + ".more()")
        frame = Frame(producer.channel, lambda: None)
        try:
            self.run_method(frame, "more", actions)
        except BaseException as error:
            self.trace.result(f"! {error_name(error)} {state(self, producer.channel)}")
            raise
        self.trace.result(f"= {shown(frame.made)} {state(self, producer.channel)}")
        return frame.made

    def run_method(self, frame, method, actions):
        self.frames.append(frame)
        try:
            self.run(frame, [["super"]] if actions is None else actions)
        finally:
            self.frames.pop()
            if frame.sock:
                frame.sock.close()
        if method == "recv":
            return frame.value if isinstance(frame.value, bytes) else b""
        if method == "send" and not is_with_send(frame.channel):
            return int(frame.value or 0)
        return frame.value

    def run(self, frame, actions):
        any(self.do(frame, action) for action in actions)

    def value(self, frame, word):
        if word.isdigit():
            return int(word)
        return self.condition(frame, word)

    def condition(self, frame, word):
        if word == "it":
            return len(frame.it) > 0
        channel, name = self.target(frame, word)
        if name == "buffer":
            return len(channel.scenario_buffer) > 0
        return bool(getattr(channel, name))

    def do(self, frame, action):
        """What controls, and everything else. Whether the method returns."""
        word = action[0]
        if word == "return":
            frame.value = self.value(frame, action[1]) if len(action) > 1 else None
            return True
        if word in ("if", "unless"):
            return self.condition(frame, action[1]) == (word == "if") and self.do(frame, action[2:])
        if word == "try":
            with contextlib.suppress(Exception):
                return self.do(frame, action[1:])
        elif word == "super":
            frame.value = frame.call_super()
            if isinstance(frame.value, bytes):
                frame.it = frame.value
        elif word == "raise":
            number = getattr(errno, action[1])
            raise OSError(number, os.strerror(number))
        elif word == "exit":
            raise asyncore.ExitNow
        elif word == "give":
            data = self.data(frame, frame.channel, action[1:])
            chat_verbs.take(frame.channel, action[1:], data)
            frame.made += data
        else:
            self.act(frame, action)
        return False

    def act(self, frame, action):
        self.trace.call(" ".join(action))
        channel = None
        try:
            target, verb = self.target(frame, action[0])
            if verb in GLOBAL and target is frame.channel:
                result = GLOBAL[verb](self, frame, *action[1:])
            elif target is None or isinstance(target, Raw) and target.fileno() < 0:
                result = "nothing"
            elif isinstance(target, Raw):
                result = RAW[verb](self, frame, target, *action[1:])
            else:
                channel = target
                self.observer(channel, verb)
                result = CHANNEL[verb](self, frame, target, *action[1:])
        except BaseException as error:
            error = as_errno(error, channel)
            self.trace.result("! " + error_name(error)
                              + (" " + state(self, channel) if channel else ""))
            raise error
        words = ["="] + ([str(result)] if result is not None else [])
        self.trace.result(" ".join(words + ([state(self, channel)] if channel else [])))

    # Names

    def find(self, frame, name):
        if name == "self":
            return frame.channel
        if name == "sock":
            for outer in reversed(self.frames):
                if outer.sock:
                    return outer.sock
        return self.channels.get(name) or self.raws.get(name)

    def target(self, frame, word):
        """NAME.VERB, or VERB of the channel itself."""
        name, dot, verb = word.rpartition(".")
        return (self.find(frame, name) if dot else frame.channel), verb

    def members(self, words):
        """The map of "in NUMBER", None for the default one."""
        if len(words) == 2 and words[0] == "in" and words[1] != "0":
            return self.maps[int(words[1])]
        return None

    def keep_raw(self, raw):
        if raw.name in self.raws:
            with contextlib.suppress(OSError):
                self.raws[raw.name].close()
        self.raws[raw.name] = raw

    def construct(self, name, class_name, sock, words):
        cls = self.classes[class_name]
        channel = cls.__new__(cls)
        if name == "_":
            channel.scenario_name = f"{class_name}#{len(self.all) + 1}"
        else:
            channel.scenario_name = name
            count = sum(1 for other in self.all if other.scenario_base == name)
            if count:
                channel.scenario_name += f".{count + 1}"
        channel.scenario_base = name
        channel.scenario_calls = {}
        channel.scenario_buffer = b""
        channel.scenario_sent = 0
        self.all.append(channel)
        try:
            cls.__init__(channel, sock, self.members(words))
        except BaseException:
            if sock is not None and not isinstance(sock, int):
                sock.close()
            raise
        if name != "_":
            self.channels.pop(name, None)
            self.channels[name] = channel

    def new_path(self):
        self.paths += 1
        return os.path.join(kernel.directory, str(self.paths))

    def address(self, frame, name):
        if name == "nobody":
            return nobody(socket.AF_INET)
        if name == "nobody6":
            return nobody(socket.AF_INET6)
        if name == "nobody_unix":
            return os.path.join(kernel.directory, "nobody")
        target = self.find(frame, name)
        if isinstance(target, asyncore.file_dispatcher):
            raise OSError(errno.ENOTSOCK, os.strerror(errno.ENOTSOCK))
        return (target.sock if isinstance(target, Raw) else target.socket).getsockname()

    def data(self, frame, sender, words):
        """The bytes that are to be sent."""
        word, *size = words
        if word.startswith('"'):
            return scenario.text_of(word)
        if word == "it":
            return frame.it
        if word == "lorem":
            return LOREM
        if word == "buffer":
            return sender.scenario_buffer[:int(size[0]) if size else None]
        return pattern(sender.scenario_sent if not isinstance(sender, Raw) else sender.sent,
                       int(word))

    # The whole

    def play(self, plan):
        for step in plan.steps:
            if self.calls > MAX_CALLS:
                self.trace.line("enough")
                break
            with contextlib.suppress(Exception):
                self.do(Frame(), step)
        settle()
        for channel in self.channels.values():
            self.trace.line(f"end {channel.scenario_name} {state(self, channel)}")
        for raw in self.raws.values():
            if raw.kind == "file" and raw.fd >= 0:
                data = os.pread(raw.fd, 1 << 20, 0)
                self.trace.line(f"end {raw.name} {shown(data)}")
            elif raw.fileno() >= 0 and raw.kind != "listener" and raw.readable:
                self.trace.line(f"end {raw.name} {drained(raw)}")

    def clean_up(self):
        do_relent(self)
        for raw in self.raws.values():
            with contextlib.suppress(OSError):
                raw.close()
        for channel in self.all:
            if getattr(channel, "socket", None) is not None:
                with contextlib.suppress(OSError):
                    channel.socket.close()
        for members in self.maps:
            members.clear()
        for path in os.listdir(kernel.directory):
            os.unlink(os.path.join(kernel.directory, path))
