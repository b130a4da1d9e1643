"""Both ends of connections through a proxy, which break off and end in all ways.

Prints the port of the target, and reads that of the proxy from standard input.
"""
import socket, struct, sys

listener = socket.create_server(('127.0.0.1', 0))
print('port', listener.getsockname()[1], flush=True)
proxy = ('127.0.0.1', int(sys.stdin.readline()))


def pair():
    client = socket.create_connection(proxy)
    target = listener.accept()[0]
    for sock in (client, target):
        sock.settimeout(30)
    return client, target


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()


def is_over(sock):
    try:
        while sock.recv(65536):
            pass
    except ConnectionResetError:
        pass


def fill(sock):
    sock.settimeout(0.2)
    sent = 0
    try:
        while sent < 100000000:
            sent += sock.send(bytes(65536))
    except TimeoutError:
        return sent
    raise SystemExit('the proxy takes everything for who does not read')


for number in range(2):  # a reset, from either side
    ends = pair()
    ends[number].sendall(b'x')
    assert ends[1 - number].recv(9) == b'x'
    reset(ends[number])
    is_over(ends[1 - number])

for number in range(2):  # a reset while much is on its way to who breaks off
    ends = pair()
    fill(ends[1 - number])
    reset(ends[number])
    ends[1 - number].settimeout(30)
    try:
        is_over(ends[1 - number])
    except BrokenPipeError:
        pass

for number in range(2):  # an end behind a long queue, and the other direction after it
    ends = pair()
    sent = fill(ends[number])
    ends[number].shutdown(socket.SHUT_WR)
    got = 0
    while data := ends[1 - number].recv(65536):
        got += len(data)
    assert got == sent, (got, sent)
    ends[number].settimeout(30)
    ends[1 - number].sendall(b'and back')
    ends[1 - number].close()
    assert ends[number].makefile('rb').read() == b'and back'
    ends[number].close()
