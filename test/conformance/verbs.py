"""The verbs of the language: of the whole, of raw peers, and of channels."""

import asyncore
import contextlib
import errno
import os
import resource
import select
import socket
import struct
import time

import scenario
from kernel import (FAMILIES, Raw, any_address, kind_of, new_listener, new_socket,
                    set_nodelay, settle)
from patching import attribute_hooks, socket_hooks, unwatch
from tracing import drained, normalise, shown

DESCRIPTORS = 256  # "exhaust" leaves none of them

PREDICATES = ("readable", "writable")


def is_with_send(channel):
    return isinstance(channel, asyncore.dispatcher_with_send)


GLOBAL = {}
RAW = {}
CHANNEL = {}


def verb(table):
    def add(function):
        table[function.__name__.partition("_")[2]] = function
        return function
    return add


def stream_pair(world, kind, a, b):
    listener = new_listener(world.new_path, kind, 1)
    client = new_socket(kind)
    client.connect_ex(listener.getsockname())
    settle()
    server, _ = listener.accept()
    listener.close()
    server.setblocking(False)
    world.keep_raw(Raw(a, kind, server))
    world.keep_raw(Raw(b, kind, client))


@verb(GLOBAL)
def do_tcp(world, frame, a, b):
    stream_pair(world, "tcp", a, b)


@verb(GLOBAL)
def do_tcp6(world, frame, a, b):
    stream_pair(world, "tcp6", a, b)


@verb(GLOBAL)
def do_unix(world, frame, a, b):
    stream_pair(world, "unix", a, b)


@verb(GLOBAL)
def do_socketpair(world, frame, a, b, kind="unix"):
    pair = socket.socketpair(socket.AF_UNIX,
                             socket.SOCK_DGRAM if kind == "dgram" else socket.SOCK_STREAM)
    for name, sock in zip((a, b), pair):
        sock.setblocking(False)
        world.keep_raw(Raw(name, kind, sock))


@verb(GLOBAL)
def do_udp(world, frame, a, b):
    pair = new_socket("udp"), new_socket("udp")
    for sock in pair:
        sock.bind(("127.0.0.1", 0))
    for name, sock, other in zip((a, b), pair, reversed(pair)):
        sock.connect(other.getsockname())
        world.keep_raw(Raw(name, "udp", sock))


@verb(GLOBAL)
def do_pipe(world, frame, reader, writer):
    for name, fd in zip((reader, writer), os.pipe()):
        world.keep_raw(Raw(name, "pipe", fd=fd))
    world.raws[writer].readable = False


@verb(GLOBAL)
def do_file(world, frame, name, size):
    fd = os.open(world.new_path(), os.O_RDWR | os.O_CREAT, 0o600)
    os.pwrite(fd, world.data(frame, Raw(name, "file"), [size]), 0)
    world.keep_raw(Raw(name, "file", fd=fd))


@verb(GLOBAL)
def do_fresh(world, frame, name, kind):
    """A socket that is neither connected nor listening."""
    world.keep_raw(Raw(name, kind, new_socket(kind)))
    world.raws[name].readable = False


@verb(GLOBAL)
def do_listener(world, frame, name, kind="tcp", backlog="5"):
    world.keep_raw(Raw(name, "listener", new_listener(world.new_path, kind, int(backlog))))


@verb(GLOBAL)
def do_dial(world, frame, name, target):
    """A raw connection to a listener."""
    address = world.address(frame, target)
    kind = "unix" if isinstance(address, str) else "tcp6" if len(address) == 4 else "tcp"
    raw = Raw(name, kind, new_socket(kind))
    world.keep_raw(raw)
    error = raw.sock.connect_ex(address)
    settle()
    if error not in (0, errno.EINPROGRESS):
        raise OSError(error, os.strerror(error))
    error = raw.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


@verb(GLOBAL)
def do_keep(world, frame, name):
    """Keeps handle_accepted's socket under a name."""
    raw = world.find(frame, "sock")
    world.keep_raw(Raw(name, raw.kind, raw.take()))


@verb(GLOBAL)
def do_new(world, frame, name, class_name, *words):
    world.construct(name, class_name, None, words)


@verb(GLOBAL)
def do_adopt(world, frame, name, class_name, raw_name, *words):
    raw = world.find(frame, raw_name)
    if raw is None or raw.fileno() < 0:
        return "nothing"
    if issubclass(world.classes[class_name], asyncore.file_dispatcher):
        sock = raw.fileno()
    else:
        sock = raw.take()
    world.construct(name, class_name, sock, words)
    return None


def members_shown(members):
    return "(" + " ".join(channel.scenario_name for channel in members.values()) + ")"


def seconds(word):
    return None if word == "none" else float(word)


@contextlib.contextmanager
def serving(world, mode, members, has_pass=True):
    """Around a loop."""
    world.observer.enter(mode)
    try:
        yield
    finally:
        world.observer.leave()
        if world.attached and has_pass:
            unwatch(members)


@verb(GLOBAL)
def do_loop(world, frame, timeout, mode, count, *words):
    members = world.members(words)
    count = None if count == "none" else int(count)
    with serving(world, mode, members, count is None or count > 0):
        asyncore.loop(seconds(timeout), mode == "poll", members, count)
    members = asyncore.socket_map if members is None else members
    return ("count " if members else "empty ") + members_shown(members)


def one_pass(world, function, mode, timeout, words):
    members = world.members(words)
    with serving(world, mode, members):
        function(seconds(timeout), members)
    return members_shown(asyncore.socket_map if members is None else members)


@verb(GLOBAL)
def do_poll(world, frame, timeout, *words):
    return one_pass(world, asyncore.poll, "select", timeout, words)


@verb(GLOBAL)
def do_poll2(world, frame, timeout, *words):
    return one_pass(world, asyncore.poll2, "poll", timeout, words)


@verb(GLOBAL)
def do_timed(world, frame, least, *action):
    """An action, and whether it takes as many seconds."""
    start = time.monotonic()
    world.do(frame, list(action))
    return f"{'at least' if time.monotonic() - start >= float(least) else 'less than'} {least}"


@verb(GLOBAL)
def do_map(world, frame, *words):
    members = world.members(words)
    return members_shown(asyncore.socket_map if members is None else members)


@verb(GLOBAL)
def do_close_all(world, frame, *words):
    ignore_all = words[:1] == ("ignore_all",)
    asyncore.close_all(world.members(words[1:] if ignore_all else words), ignore_all)


@verb(GLOBAL)
def do_read(world, frame, name):
    asyncore.read(world.find(frame, name))


@verb(GLOBAL)
def do_write(world, frame, name):
    asyncore.write(world.find(frame, name))


@verb(GLOBAL)
def do_exception(world, frame, name):
    asyncore._exception(world.find(frame, name))


@verb(GLOBAL)
def do_readwrite(world, frame, name, *flags):
    total = 0
    for flag in flags:
        total |= getattr(select, flag)
    asyncore.readwrite(world.find(frame, name), total)


@verb(GLOBAL)
def do_exhaust(world, frame):
    """Leaves no descriptor."""
    if world.hogs:
        return
    world.limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, world.limits[1]))
    with contextlib.suppress(OSError):
        while True:
            world.hogs.append(os.open("/dev/null", os.O_RDONLY))


@verb(GLOBAL)
def do_relent(world, frame=None):
    """Gives them back."""
    for fd in world.hogs:
        os.close(fd)
    if world.hogs:
        resource.setrlimit(resource.RLIMIT_NOFILE, world.limits)
    world.hogs = []


# Raw peers


@verb(RAW)
def raw_send(world, frame, raw, *words):
    data = world.data(frame, raw, words)
    sent = raw.send(data)
    raw.sent += sent
    return sent


@verb(RAW)
def raw_recv(world, frame, raw, size):
    settle()
    return shown(raw.recv(int(size)))


@verb(RAW)
def raw_drain(world, frame, raw):
    settle()
    return drained(raw)


@verb(RAW)
def raw_close(world, frame, raw):
    raw.close()


HOW = {"r": socket.SHUT_RD, "w": socket.SHUT_WR, "rw": socket.SHUT_RDWR}


@verb(RAW)
def raw_shutdown(world, frame, raw, how):
    raw.sock.shutdown(HOW[how])


@verb(RAW)
def raw_reset(world, frame, raw):
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


@verb(RAW)
def raw_oob(world, frame, raw):
    return raw.sock.send(b"!", socket.MSG_OOB)


@verb(RAW)
def raw_accept(world, frame, raw, name):
    settle()
    sock, _ = raw.sock.accept()
    sock.setblocking(False)
    world.keep_raw(Raw(name, kind_of(sock), sock))


@verb(RAW)
def raw_buffers(world, frame, raw, size):
    set_buffers(raw.sock, size)


@verb(RAW)
def raw_flags(world, frame, raw):
    return "blocking" if os.get_blocking(raw.fileno()) else "nonblocking"


def set_buffers(sock, size):
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, int(size))


# Channels


def note_use(channel):
    """The channel's socket is used past its methods."""
    for hook in socket_hooks:
        hook(channel)


@verb(CHANNEL)
def do_create(world, frame, channel, kind="tcp"):
    channel.create_socket(FAMILIES[kind], socket.SOCK_DGRAM if kind in ("udp", "dgram")
                          else socket.SOCK_STREAM)
    set_nodelay(channel.socket)


@verb(CHANNEL)
def do_bind(world, frame, channel):
    channel.bind(any_address(world.new_path, channel.socket.family))


@verb(CHANNEL)
def do_listen(world, frame, channel, backlog="5"):
    channel.listen(int(backlog))


@verb(CHANNEL)
def do_connect(world, frame, channel, target):
    channel.connect(world.address(frame, target))


@verb(CHANNEL)
def do_bind_host(world, frame, channel, host):
    channel.bind((host, 0))


@verb(CHANNEL)
def do_connect_host(world, frame, channel, host, target):
    channel.connect((host, world.address(frame, target)[1]))


@verb(CHANNEL)
def do_accept(world, frame, channel, name):
    pair = channel.accept()
    if pair is None:
        return "none"
    world.keep_raw(Raw(name, kind_of(pair[0]), pair[0]))
    return "a connection"


@verb(CHANNEL)
def do_send(world, frame, channel, *words):
    data = world.data(frame, channel, words)
    sent = channel.send(data)
    taken = len(data) if is_with_send(channel) else sent
    channel.scenario_sent += taken
    if words[0] == "buffer":
        channel.scenario_buffer = channel.scenario_buffer[taken:]
    return None if is_with_send(channel) else sent


@verb(CHANNEL)
def do_recv(world, frame, channel, size):
    frame.it = b""
    frame.it = channel.recv(int(size))
    return shown(frame.it)


def shown_recv(frame, call):
    frame.it = b""
    frame.it = call()
    return shown(frame.it)


FLAGS = {"oob": socket.MSG_OOB, "peek": socket.MSG_PEEK}


@verb(CHANNEL)
def do_socket_recv(world, frame, channel, size, *flags):
    return shown_recv(frame, lambda: channel.socket.recv(int(size), *(FLAGS[f] for f in flags)))


@verb(CHANNEL)
def do_socket_send(world, frame, channel, word, *flags):
    data = world.data(frame, channel, [word])
    note_use(channel)
    sent = channel.socket.send(data, *(FLAGS[f] for f in flags))
    channel.scenario_sent += sent
    return sent


@verb(CHANNEL)
def do_recvfrom(world, frame, channel, size):
    return shown_recv(frame, lambda: channel.socket.recvfrom(int(size))[0])


@verb(CHANNEL)
def do_sendto(world, frame, channel, word, target):
    data = world.data(frame, channel, [word])
    note_use(channel)
    sent = channel.socket.sendto(data, world.address(frame, target))
    channel.scenario_sent += sent
    return sent


@verb(CHANNEL)
def do_shutdown(world, frame, channel, how):
    note_use(channel)
    channel.socket.shutdown(HOW[how])


@verb(CHANNEL)
def do_buffers(world, frame, channel, size):
    set_buffers(channel.socket, size)


@verb(CHANNEL)
def do_lose(world, frame, channel):
    """Its descriptor is closed behind its back."""
    fd = channel.socket.fileno()
    if fd < 0:
        return "nothing"
    os.close(fd)
    return None


@verb(CHANNEL)
def do_del_channel(world, frame, channel):
    channel.del_channel()


@verb(CHANNEL)
def do_add_channel(world, frame, channel, *words):
    channel.add_channel(asyncore.socket_map if words[1:] == ("0",) else world.members(words))


@verb(CHANNEL)
def do_set_socket(world, frame, channel, raw_name, *words):
    raw = world.find(frame, raw_name)
    if raw is None or raw.fileno() < 0:
        return "nothing"
    channel.set_socket(raw.take(), world.members(words))
    return None


@verb(CHANNEL)
def do_set_file(world, frame, channel, raw_name):
    raw = world.find(frame, raw_name)
    if raw is None or raw.fileno() < 0:
        return "nothing"
    channel.set_file(raw.fileno())
    return None


@verb(CHANNEL)
def do_set(world, frame, channel, name, value):
    setattr(channel, name, value == "1")
    for hook in attribute_hooks:
        hook(channel, name, value == "1")


@verb(CHANNEL)
def do_ignore(world, frame, channel, *types):
    channel.ignore_log_types = frozenset(types)


@verb(CHANNEL)
def do_put(world, frame, channel, *words):
    channel.scenario_buffer += world.data(frame, channel, words)


@verb(CHANNEL)
def do_log(world, frame, channel, message):
    channel.log(scenario.text_of(message).decode("latin-1"))


@verb(CHANNEL)
def do_log_info(world, frame, channel, message, *types):
    channel.log_info(scenario.text_of(message).decode("latin-1"), *types)


@verb(CHANNEL)
def do_repr(world, frame, channel):
    return normalise(repr(channel))


@verb(CHANNEL)
def do_state(world, frame, channel):
    pass


@verb(CHANNEL)
def do_handle_error(world, frame, channel, name=None):
    """With an error: one that was caught."""
    try:
        if name:
            number = getattr(errno, name)
            raise OSError(number, os.strerror(number))
    except OSError:
        channel.handle_error()
    else:
        channel.handle_error()


def add_method_verbs():
    def add(name):
        def call(world, frame, channel):
            result = getattr(channel, name)()
            return int(bool(result)) if name in PREDICATES else None
        CHANNEL[name] = call
    for name in (*scenario.METHODS, "set_reuse_addr", "initiate_send"):
        if name not in CHANNEL and name != "handle_accepted":
            add(name)


add_method_verbs()
