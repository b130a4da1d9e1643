"""A server, and a client, that both send so many bytes at once and compare what they get.

usage: proxy_load.py serve BYTES SIZE       prints its port, and serves until it is killed
       proxy_load.py run BYTES SIZE PORT N  N connections at once; prints the MB/s of both ways
SIZE is how much is read at once.
"""
import random
import socket
import sys
import threading
import time

PIECE = 262144
# Repeated, the server's from the other end; of a length that no buffer has.
PERIOD = 1000003
ONE = random.Random(1).randbytes(PERIOD)
PATTERNS = [2 * ONE, 2 * ONE[::-1]]


def send(sock, pattern, total):
    view = memoryview(pattern)
    sent = 0
    while sent < total:
        at = sent % PERIOD
        sent += sock.send(view[at:at + min(PIECE, total - sent)])
    sock.shutdown(socket.SHUT_WR)


def receive(sock, pattern, total, size):
    got = 0
    while data := sock.recv(size):
        at = got % PERIOD
        if data != pattern[at:at + len(data)]:
            raise ValueError('different in the %d bytes from %d' % (len(data), got))
        got += len(data)
    if got != total:
        raise ValueError('%d bytes, not %d' % (got, total))


def exchange(sock, mine, theirs, total, size, failures):
    """Both at once; the end of each comes through by itself."""
    def sender():
        try:
            send(sock, mine, total)
        except OSError as error:
            failures.append(error)
    thread = threading.Thread(target=sender)
    thread.start()
    try:
        receive(sock, theirs, total, size)
    except (OSError, ValueError) as error:
        failures.append(error)
        sock.close()
    thread.join()
    sock.close()


def serve(total, size):
    listener = socket.create_server(('127.0.0.1', 0))
    print('port', listener.getsockname()[1], flush=True)
    while True:
        sock = listener.accept()[0]
        threading.Thread(target=exchange, daemon=True,
                         args=(sock, PATTERNS[1], PATTERNS[0], total, size, [])).start()


def run(total, size, port, count):
    failures = []
    start = time.monotonic()
    threads = [threading.Thread(target=exchange, args=(
        socket.create_connection(('127.0.0.1', port)), PATTERNS[0], PATTERNS[1], total, size,
        failures)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit('failed: %s' % failures[0])
    print('%.0f' % (2 * total * count / (time.monotonic() - start) / 1e6))


numbers = [int(argument) for argument in sys.argv[2:]]
if sys.argv[1] == 'serve':
    serve(*numbers)
else:
    run(*numbers)
