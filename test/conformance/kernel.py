"""The kernel's side: loopback that has settled before anyone looks, sockets, and raw peers."""

import asyncore
import atexit
import errno
import os
import select
import shutil
import socket
import tempfile

# --- loopback ------------------------------------------------------------------------------------

directory = None  # of the Unix sockets and files
_marker = None


def settle():
    """Waits until loopback has delivered what was sent: packets of one CPU stay in order, and no
    connection needs more than four packets that wait for each other."""
    for _ in range(4):
        _marker.send(b".")
        _marker.recv(1)


def prepare():
    global directory, _marker
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpus[os.getpid() % len(cpus)]})
    directory = tempfile.mkdtemp(prefix="oracle.")
    atexit.register(shutil.rmtree, directory)
    _marker = socket.socket(type=socket.SOCK_DGRAM)
    _marker.bind(("127.0.0.1", 0))
    _marker.connect(_marker.getsockname())
    nobody(socket.AF_INET)  # now: there may be no descriptor later
    nobody(socket.AF_INET6)


class Select:
    """asyncore's select module: lets loopback settle before each wait."""

    def __getattr__(self, name):
        return getattr(select, name)

    def select(self, readers, writers, others, timeout=None):
        settle()
        return select.select(readers, writers, others, timeout)

    def poll(self):
        return Poll()


class Poll:
    def __init__(self):
        self.poller = select.poll()
        self.register = self.poller.register

    def poll(self, timeout=None):
        settle()
        return self.poller.poll(timeout)


asyncore.select = Select()


# --- sockets ---------------------------------------------------------------------------------------

FAMILIES = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6, "udp": socket.AF_INET,
            "unix": socket.AF_UNIX, "dgram": socket.AF_UNIX}

_nobodies = {}


def nobody(family):
    """A port that refuses connections: bound, and not listening."""
    if family not in _nobodies:
        _nobodies[family] = socket.socket(family)
        _nobodies[family].bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
    return _nobodies[family].getsockname()


def kind_of(sock):
    return next(kind for kind, family in FAMILIES.items() if family == sock.family)


def new_socket(kind):
    sock = socket.socket(FAMILIES[kind],
                         socket.SOCK_DGRAM if kind in ("udp", "dgram") else socket.SOCK_STREAM)
    sock.setblocking(False)
    set_nodelay(sock)
    return sock


def set_nodelay(sock):
    """Small segments are not to wait for acknowledgements, which come by a timer."""
    if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def any_address(new_path, family):
    if family == socket.AF_UNIX:
        return new_path()
    return ("127.0.0.1" if family == socket.AF_INET else "::1", 0)


def new_listener(new_path, kind, backlog):
    sock = new_socket(kind)
    sock.bind(any_address(new_path, sock.family))
    sock.listen(backlog)
    return sock


# --- raw peers -------------------------------------------------------------------------------------


class Raw:
    """A socket or a file that is no channel's."""

    readable = True

    def __init__(self, name, kind, sock=None, fd=-1):
        self.name = name
        self.kind = kind  # a key of FAMILIES, or file, pipe
        self.sock = sock  # None for files
        self.fd = fd
        self.sent = 0

    def fileno(self):
        return self.sock.fileno() if self.sock else self.fd

    def take(self):
        """Gives the socket away."""
        sock, self.sock = self.sock, None
        return sock

    def close(self):
        sock, self.sock = self.sock, None
        fd, self.fd = self.fd, -1
        if sock:
            sock.close()
        if fd >= 0:
            os.close(fd)

    def recv(self, size):
        if self.fileno() < 0:
            raise OSError(errno.EBADF, "")
        if self.sock:
            return self.sock.recv(size, socket.MSG_DONTWAIT)
        if self.kind == "pipe" and not select.select([self.fd], [], [], 0)[0]:
            raise BlockingIOError(errno.EAGAIN, "")
        return os.read(self.fd, size)

    def send(self, data):
        if self.fileno() < 0:
            raise OSError(errno.EBADF, "")
        if self.sock:
            return self.sock.send(data, socket.MSG_DONTWAIT)
        if self.kind == "pipe" and not select.select([], [self.fd], [], 0)[1]:
            raise BlockingIOError(errno.EAGAIN, "")
        return os.write(self.fd, data)
