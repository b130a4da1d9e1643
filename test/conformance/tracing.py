"""The trace: its lines, and how what is in them is printed."""

import asyncore
import errno
import os
import re
import zlib

import kernel


class Trace:
    """A call is a line; what happens in it is indented, and its result stands behind the call if
    nothing happened."""

    def __init__(self, out):
        self.out = out
        self.depth = 0
        self.open = False

    def line(self, text):
        if self.open:
            self.out.write("\n")
            self.open = False
        self.out.write("  " * self.depth + text + "\n")

    def call(self, text):
        if self.open:
            self.out.write("\n")
        self.out.write("  " * self.depth + text)
        self.open = True
        self.depth += 1

    def result(self, text):
        self.depth -= 1
        if not self.open:
            self.out.write("  " * self.depth + text + "\n")
        else:
            self.out.write(" " + text + "\n")
            self.open = False


class Log:
    """Stands for sys.stdout and sys.stderr: what is printed becomes lines of the trace."""

    def __init__(self, trace, prefix):
        self.trace = trace
        self.prefix = prefix
        self.rest = ""

    def write(self, text):
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.trace.line(self.prefix + normalise(line))

    def flush(self):
        pass


def normalise(text):
    """Takes out what is Python's alone, and what differs from run to run: replay.c does the same.
    README.md lists it."""
    text = re.sub(r" at 0x[0-9a-f]+>", ">", text)
    text = re.sub(r"((?:127\.0\.0\.1|0\.0\.0\.0|localhost|::1|::)(?::|', ))[1-9][0-9]*", r"\1PORT", text)
    if kernel.directory:
        text = text.replace(kernel.directory, "DIR")
    return re.sub(r" \(<class '([\w.]+)'>:(.*?) ?\[[^|\]]*\|.*\]\)$", _error_of_report, text,
                  flags=re.DOTALL)


def _error_of_report(match):
    number = re.match(r"\[Errno (\d+)\]", match[2])
    number = int(number[1]) if number else errno_of(match[1], match[2])
    return f" ({errno.errorcode[number] if number else match[1]})"


def quoted(data):
    out = []
    for byte in data:
        char = chr(byte)
        if char in '"\\':
            out.append("\\" + char)
        elif char in "\n\r\t":
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}[char])
        else:
            out.append(char if 32 <= byte < 127 else f"\\x{byte:02x}")
    return '"' + "".join(out) + '"'


def shown(data):
    """The length, and the data, or its ends and a checksum."""
    if len(data) <= 32:
        return f"{len(data)} {quoted(data)}"
    return f"{len(data)} {quoted(data[:12])}..{quoted(data[-8:])} {zlib.adler32(data):08x}"


PATTERN = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ123456789"


def pattern(offset, length):
    """What a sender sends when only the length is given: bytes that tell their place."""
    start = offset % len(PATTERN)
    return (PATTERN * (length // len(PATTERN) + 2))[start:start + length]


class Spent(asyncore.ExitNow):
    """The scenario has called enough methods."""


def errno_of(name, message):
    """What C says where Python raises another exception than OSError: a channel has no socket, or
    has a file, which lacks a socket's methods; there is no error that handle_error could report; a
    class lacks a method that it must have; or a number of bytes is negative."""
    if name == "AttributeError" and re.match("'(Wrapper|file_wrapper)' object has no", message):
        return errno.ENOTSOCK
    if name == "AttributeError" and message.startswith("'NoneType' object has no attribute"):
        return errno.EBADF
    if name == "AssertionError" and message == "traceback does not exist":
        return errno.EINVAL
    if name == "NotImplementedError":
        return errno.ENOSYS
    if name == "ValueError" and message == "the number of received bytes must be positive":
        return errno.EINVAL
    return 0


def as_errno(error, channel=None):
    number = errno_of(type(error).__name__, str(error))
    if number == errno.ENOTSOCK and channel and channel.socket.fileno() < 0:
        number = errno.EBADF
    return OSError(number, os.strerror(number)) if number else error


def error_name(error):
    error = as_errno(error)
    if isinstance(error, asyncore.ExitNow):
        return "ExitNow"
    if isinstance(error, OSError) and error.errno:
        return errno.errorcode.get(error.errno, type(error).__name__)
    return type(error).__name__


def drained(raw):
    """What can still be read, and why no more."""
    data = b""
    try:
        while True:
            part = raw.recv(65536)
            if not part:
                return f"{shown(data)} end"
            data += part
    except OSError as error:
        return f"{shown(data)} {'open' if error.errno == errno.EAGAIN else error_name(error)}"
