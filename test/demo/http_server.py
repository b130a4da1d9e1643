"""What http_server.sh asks of the server by raw sockets: python3 http_server.py PART PORT PID DIR.

The part without_openat2 COMMAND... runs a program to which the kernel seems to be an old one.
"""
import ctypes
import os
import select
import socket
import struct
import sys
import time

HOST = "Host: x\r\n"
FIELD = "GET /hello.txt HTTP/1.1\r\nHost: x\r\n%s\r\n"


class Client:
    def __init__(self):
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=30)
        self.file = self.socket.makefile("rb")

    def send(self, text):
        self.socket.sendall(text.encode("latin-1"))

    def answer(self, head=False):
        """Reads one: its status, header and body; None at the end of the stream."""
        line = self.file.readline()
        if not line:
            return None
        version, status = line.split()[:2]
        assert version == b"HTTP/1.1" and line.endswith(b"\r\n"), line
        header = {}
        while (line := self.file.readline()) != b"\r\n":
            name, value = line.decode().split(": ", 1)
            assert value.endswith("\r\n") and name not in header, line
            header[name] = value[:-2]
        status = int(status)
        length = 0 if head or status in (100, 304) else int(header["Content-Length"])
        body = self.file.read(length)
        assert len(body) == length, (len(body), length)
        return status, header, body

    def ended(self):
        return self.file.read(1) == b""


def ask(text):
    client = Client()
    client.send(text)
    return client, client.answer()


# --- no way out ----------------------------------------------------------------------------------

def escapes():
    up = ["..", "%2e%2e", ".%2E", "%2e."]
    slash = ["/", "%2f", "//", "/./", "/sub/../", "/none/../"]
    targets = ["/" + u + s + "secret" for u in up for s in slash]
    targets += ["/sub/" + u + s + v + "/secret" for u in up for s in slash for v in up]
    targets += ["//../secret", "/..", "/../", "/sub/../../secret", "/../outside/secret",
                "/../www/../secret", "/link", "/absolute", "/linked/secret", "/linked/", "/linked",
                "/sub/link", "/twice", "/link%00", "/hello.txt%00", "/%00", "/..%00/secret",
                "/%", "/%2", "/proc/self/root/etc/passwd", "/..\\secret", "/..%5csecret",
                "http://x/../secret", "http://x/link", "../secret", "", "secret", "*", "http://x?y"]
    for target in targets:
        _, (status, _, body) = ask(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")
        assert status in (400, 403, 404) and b"secret" not in body, (target, status, body)


# --- what is not understood, or could be misunderstood -------------------------------------------

REFUSED = [
    (400, "GET /hello.txt\r\n\r\n"),
    (400, "GET  /hello.txt HTTP/1.1\r\n" + HOST + "\r\n"),
    (400, "GET /hello.txt  HTTP/1.1\r\n" + HOST + "\r\n"),
    (400, "GET /hel lo.txt HTTP/1.1\r\n" + HOST + "\r\n"),
    (400, "GET /hello.txt HTTP/1.1 \r\n" + HOST + "\r\n"),
    (400, "GET\t/hello.txt\tHTTP/1.1\r\n" + HOST + "\r\n"),
    (400, " GET /hello.txt HTTP/1.1\r\n" + HOST + "\r\n"),
    (400, "G(T /hello.txt HTTP/1.1\r\n" + HOST + "\r\n"),
    (400, "GET /hello.txt http/1.1\r\n" + HOST + "\r\n"),
    (400, "GET /hello.txt HTTP/1.\r\n" + HOST + "\r\n"),
    (400, "GET /hello.txt HTTP/11\r\n" + HOST + "\r\n"),
    (400, "GET /hello.txt HTTP/1.10\r\n" + HOST + "\r\n"),
    (400, "GET /\0hello.txt HTTP/1.1\r\n" + HOST + "\r\n"),
    (400, "GET /\x7fhello.txt HTTP/1.1\r\n" + HOST + "\r\n"),
    (505, "GET /hello.txt HTTP/2.0\r\n" + HOST + "\r\n"),
    (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (505, "GET /hello.txt HTTP/0.9\r\n" + HOST + "\r\n"),
    (400, "GET /hello.txt HTTP/1.1\r\n\r\n"),
    (400, FIELD % HOST),
    (400, "GET /hello.txt HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (400, "GET /hello.txt HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (400, FIELD % "Content-Length : 5\r\n"),
    (400, FIELD % " X: y\r\n"),
    (400, FIELD % "X: y\r\n folded\r\n"),
    (400, FIELD % "no colon\r\n"),
    (400, FIELD % ": no name\r\n"),
    (400, FIELD % "X: a\rb\r\n"),
    (400, FIELD % "X: a\r\r\n"),
    (400, FIELD % "X: a\nContent-Length: 5\r\n"),
    (400, FIELD % "X: a\0b\r\n"),
    (400, FIELD % "X: a\x1bb\r\n"),
    (400, FIELD % "Content-Length: 5\r\nContent-Length: 5\r\n"),
    (400, FIELD % "Content-Length: 5\r\ncontent-length: 6\r\n"),
    (400, FIELD % "Content-Length: 5, 5\r\n"),
    (400, FIELD % "Content-Length: -5\r\n"),
    (400, FIELD % "Content-Length: +5\r\n"),
    (400, FIELD % "Content-Length: 0x5\r\n"),
    (400, FIELD % "Content-Length: 5 5\r\n"),
    (400, FIELD % "Content-Length:\r\n"),
    (400, FIELD % "Content-Length: 18446744073709551621\r\n"),
    (400, FIELD % "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    (400, FIELD % "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    (501, FIELD % "Transfer-Encoding: gzip, chunked\r\n"),
    (501, FIELD % "Transfer-Encoding: identity\r\n"),
    (501, FIELD % "Transfer-Encoding: xchunked\r\n"),
    (400, "GET /hello.txt HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (400, FIELD % "Range: bytes=0-1\r\nRange: bytes=2-3\r\n"),
    (417, FIELD % "Expect: 200-ok\r\nContent-Length: 5\r\nConnection: close\r\n"),
    (405, FIELD.replace("GET", "POST") % "Expect: 100-continue\r\nContent-Length: 5\r\n"),
    (431, FIELD % ("X: " + 17000 * "y" + "\r\n")),
    (431, 20000 * "y"),
    (431, FIELD % (2000 * "X: yyyyyy\r\n")),
]

CHUNKED = "Transfer-Encoding: chunked\r\n"
BAD_CHUNKS = ["x\r\n", "\r\n", "-1\r\n", "0x5\r\nhello\r\n0\r\n\r\n", "5\nhello\r\n", " 5\r\nhello",
              "5 x\r\nhello\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhelloo\r\n0\r\n\r\n",
              "5;a\rb\r\nhello\r\n", "10000000000000000\r\n", 17000 * "1", "5;" + 17000 * "x"]


def refusals():
    smuggled = "GET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = REFUSED + [(400, FIELD % CHUNKED + chunk) for chunk in BAD_CHUNKS]
    for want, request in requests:
        client, (status, header, _) = ask(request + smuggled)
        assert status == want, (request, status)
        assert header.get("Connection") == "close", request
        assert client.ended(), request
    # Of what is only not served, the connection does not end.
    for want, request in [(404, "GET /none HTTP/1.1"), (405, "POST /hello.txt HTTP/1.1"),
                          (405, "OPTIONS * HTTP/1.1"), (405, "CONNECT x:1 HTTP/1.1"),
                          (501, "BREW /pot HTTP/1.1"), (400, "GET %zz HTTP/1.1"),
                          (400, "GET /a#b HTTP/1.1"), (403, "GET /.. HTTP/1.1")]:
        client, (status, header, _) = ask(request + "\r\n" + HOST + "\r\n" + smuggled)
        assert status == want and "Connection" not in header, (request, status)
        assert client.answer()[0] == 200, request
    # What is well, though it looks odd.
    for request in ["GET http://x/hello.txt HTTP/1.1\r\nHost: y\r\n\r\n",
                    "GET HTTP://x:80/hello.txt?http://y/ HTTP/1.1\r\nHost:\r\n\r\n",
                    "GET /hello.txt HTTP/1.7\r\nHOST:\t[::1]:80 \t\r\n\r\n",
                    "\r\n\r\n\r\nGET /hello.txt HTTP/1.1\r\nHost: x\r\n\r\n",
                    FIELD % "X:\r\nX: \xff\tabc\r\n", FIELD % "Content-Length: 0\r\n",
                    FIELD % "Connection: Upgrade\r\nConnection: x\r\n"]:
        client, (status, header, _) = ask(request + smuggled)
        assert status == 200 and "Connection" not in header, (request, status)
        assert client.answer()[0] == 200, request
    # A request that says so is the last one.
    for connection in ["close", "Close", "x, close", "keep-alive, close"]:
        client, (status, header, _) = ask(FIELD % f"Connection: {connection}\r\n" + smuggled)
        assert status == 200 and header["Connection"] == "close" and client.ended()


# --- bodies of requests --------------------------------------------------------------------------

def bodies():
    chunks = "5\r\nhello\r\n00000a;name=\"value\" \r\n0123456789\r\nA \t;x\r\n\r\n\r\n\r\nxxxx\r\n"
    ends = ["0\r\n\r\n", "000\r\nTrailer: x\r\nAnother: y\r\n\r\n", "0;x\r\n" + 3000 * "X: y\r\n" + "\r\n"]
    for body, fields in [("hello", "Content-Length: 5\r\n"), (200000 * "x", "Content-Length: 200000\r\n"),
                         ("\r\n\r\n", "Content-Length: 004\r\n")] + \
            [(chunks + end, "Transfer-Encoding: Chunked\r\n") for end in ends]:
        for method, want in ("GET", 200), ("POST", 405), ("PUT", 405):
            request = FIELD.replace("GET", method) % fields
            client, (status, _, _) = ask(request + body + FIELD % "")
            assert status == want, (request, status)
            assert client.answer()[0] == 200, request
        # Sent when it is asked for, behind another request.
        client, (status, _, _) = ask(FIELD % "" + FIELD % (fields + "Expect: 100-Continue\r\n"))
        assert status == 200
        assert client.answer()[0] == 100
        client.send(body)
        assert client.answer()[0] == 200
        client.send(FIELD % "")
        assert client.answer()[0] == 200


# --- order ---------------------------------------------------------------------------------------

def pipeline():
    hello = b"hello, world\n"
    kinds = [("GET /hello.txt", 200, hello), ("GET /none", 404, None), ("HEAD /1m.bin", 200, b""),
             ("GET /1k.bin", 200, None), ("GET /", 200, None), ("GET /sub", 301, b""),
             ("GET /1m.bin", 200, None), ("POST /", 405, None)]
    wanted = [kinds[i * 5 % len(kinds)] for i in range(400)]
    request = "".join(f"{kind[0]} HTTP/1.1\r\nHost: x\r\n\r\n" for kind in wanted)
    for last in "", FIELD % "Connection: close\r\n", None:
        client = Client()
        client.send(request + (last or ""))
        if last is None:
            client.socket.shutdown(socket.SHUT_WR)  # all are answered nevertheless
        for line, status, body in wanted:
            answer = client.answer(line.startswith("HEAD"))
            assert answer[0] == status, (line, answer)
            assert body is None or answer[2] == body, (line, answer)
        if last:
            assert client.answer()[2] == hello
        assert last == "" or client.ended()


def bytes_():
    client = Client()
    client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = FIELD % "Transfer-Encoding: chunked\r\n" + "5\r\nhello\r\n0\r\n\r\n"
    for _ in range(3):
        for byte in request:
            client.send(byte)
        assert client.answer()[0] == 200
    client.send(request[:30])
    assert not select.select([client.file], [], [], 0)[0]
    client.send(request[30:])
    assert client.answer()[0] == 200


# --- clients that do not read --------------------------------------------------------------------

def cpu():
    with open(f"/proc/{PID}/stat") as stat:
        return sum(map(int, stat.read().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")


def memory():
    with open(f"/proc/{PID}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def descriptors():
    return len(os.listdir(f"/proc/{PID}/fd"))


def deaf():
    """The server takes neither everything from one, nor keeps more than a few files open for it,
    nor turns in circles; and what is answered later is all there."""
    for path, size in ("/1m.bin", 1048576), ("/", None), ("/none", None):
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        client = Client()
        open_files, used = descriptors(), memory()
        requests = request * 4000
        sent = 0
        client.socket.setblocking(False)
        while sent < 40 << 20 and select.select([], [client.socket], [], 0.2)[1]:
            start = sent % len(request)
            sent += client.socket.send(requests[start:start + 65536])
        assert sent < 40 << 20, path
        assert descriptors() <= open_files + 17, (path, descriptors(), open_files)
        assert memory() < used + (16 << 20), (path, memory(), used)
        busy = 1.0
        for _ in range(30):
            before = cpu()
            time.sleep(0.3)  # in which nothing happens, in the end
            if (busy := cpu() - before) < 0.1:
                break
        assert busy < 0.1, (path, busy)

        client.socket.settimeout(30)
        for _ in range(20):
            assert len(client.answer()[2]) == size or size is None
        # Gone, with much on its way.
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.file.close()
        client.socket.close()
    # Gone without a reset, in the middle of a file that is being sent.
    for _ in range(300):
        client = Client()
        client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        client.socket.recv(1 << 20)
        client.file.close()
        client.socket.close()
    # A refusal reaches who has not finished.
    client = Client()
    client.send(1000 * "GET /hello.txt HTTP/1.1\r\n")
    client.send(1000000 * "y")
    assert client.answer()[0] == 431 and client.ended()


def idle():
    """The server has --idle 1."""
    began = time.monotonic()
    silent, done, begun, body, unread, slow = [Client() for _ in range(6)]
    done.send(FIELD % "")
    assert done.answer()[0] == 200
    begun.send("GET /hello.txt HT")
    body.send(FIELD % "Content-Length: 5\r\n")
    unread.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    # One that goes on sends a byte every now and then, of a header: it is not waited for.
    slow.send("G")
    while not select.select([slow.file], [], [], 0.1)[0]:
        slow.send("E")
    for client in begun, slow:
        status, header, _ = client.answer()
        assert status == 408 and header["Connection"] == "close"
        assert client.ended()
    assert silent.ended() and done.ended() and body.ended()
    assert 0.9 < time.monotonic() - began < 10
    # Nor one that goes on after the last answer.
    endless = Client()
    endless.send(FIELD % "Connection: close\r\n")
    assert endless.answer()[0] == 200 and endless.ended()
    reset = select.poll()
    reset.register(endless.socket, 0)
    try:
        while time.monotonic() - began < 20:
            endless.send("x")
            reset.poll(100)
        sys.exit("it is still read")
    except ConnectionError:
        pass
    try:
        assert len(unread.file.read()) < 200 << 20
    except ConnectionResetError:
        pass


def shrinking():
    """What was promised cannot be sent: the connection ends."""
    client = Client()
    client.send("GET /shrinking HTTP/1.1\r\nHost: x\r\n\r\n")
    client.file.read(1000)
    os.truncate(os.path.join(ROOT, "shrinking"), 0)
    assert len(client.file.read()) < 50000000


# --- an old kernel -------------------------------------------------------------------------------

def without_openat2(command):
    """By seccomp: a filter that lets openat2 (437 everywhere) fail with ENOSYS."""
    set_seccomp, set_no_new_privileges, filter_mode = 22, 38, 2
    load, equal, give = 0x20, 0x15, 0x06
    program = b"".join(struct.pack("=HBBI", *line) for line in [
        (load, 0, 0, 0), (equal, 0, 1, 437), (give, 0, 0, 0x00050000 | 38), (give, 0, 0, 0x7FFF0000)])
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, *values in (set_no_new_privileges, 1, 0), (set_seccomp, filter_mode, header):
        if libc.prctl(option, *values, 0, 0) < 0:
            sys.exit(f"prctl {option}: {os.strerror(ctypes.get_errno())}")
    os.execv(command[0], command)


if sys.argv[1] == "without_openat2":
    without_openat2(sys.argv[2:])
PORT, PID = map(int, sys.argv[2:4])
ROOT = sys.argv[4]
{"escapes": escapes, "refusals": refusals, "bodies": bodies, "pipeline": pipeline, "bytes": bytes_,
 "deaf": deaf, "idle": idle, "shrinking": shrinking}[sys.argv[1]]()
