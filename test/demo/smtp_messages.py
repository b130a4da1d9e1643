"""Messages for smtp_server, by smtplib where that can say them.

Usage: smtp_messages.py CASE PORT [ARGUMENT...]
"""
import os
import random
import re
import smtplib
import socket
import struct
import sys

FROM, TO = 'a@example.com', ['b@example.com', 'c@example.com']
NAME = re.compile(r'\d+\.M\d+P\d+Q(\d+)\.[^/:]+')
TEXTS = [
    b'Subject: one\nX: y\n\ntext\n',
    b'Subject: no text\n',
    b'Subject: no text\n\n',
    b'\nno header\n\n\nlines\n\n',
    b'no end',
    b'',
    b'\n',
    b'.\n',
    b'.',
    b'..\n.x\n ..\n.\n\n.\n...\n',
    b'it\'s\n"quoted"\nit\'s "both"\nback\\slash\ttab \x00\x01\x1f\x7f\x80\xff\n\nj\xc3\xb6rg\n',
    b'x' * 100000 + b'\n' + b'.' * 100000 + b'\n',
]
RANDOM = random.Random(1)


def smtp(port):
    client = smtplib.SMTP('127.0.0.1', int(port), timeout=60)
    assert client.ehlo()[0] == 250
    assert client.has_extn('8bitmime') and client.has_extn('smtputf8') and client.has_extn('size')
    return client


def begin(port):
    """A connection that is in the middle of a message."""
    s = socket.create_connection(('127.0.0.1', int(port)), 60)
    replies = s.makefile('rb')
    for command in b'', b'HELO x\r\n', b'MAIL FROM:<a@b>\r\n', b'RCPT TO:<a@b>\r\n', b'DATA\r\n':
        s.sendall(command)
        assert replies.readline()[:1] in b'23'
    return s, replies


def lines(text):
    """With the line ends that smtplib makes of those of a str; bytes it leaves alone."""
    return re.sub(rb'\r\n|\n|\r', b'\r\n', text)


def as_kept(text):
    text = lines(text).replace(b'\r\n', b'\n')
    return text if text.endswith(b'\n') else text + b'\n'


class Maildir:
    def __init__(self, path):
        self.path = path
        self.seen = set(os.listdir(path + '/new'))

    def new(self):
        """What has come since, in its order."""
        assert os.listdir(self.path + '/tmp') == [], os.listdir(self.path + '/tmp')
        names = set(os.listdir(self.path + '/new')) - self.seen
        self.seen |= names
        names = sorted(names, key=lambda name: int(NAME.fullmatch(name)[1]))
        return [open(self.path + '/new/' + name, 'rb').read() for name in names]


def check(want, got):
    if want != got:
        sys.exit('FAILED: want %d: %.200r got %d: %.200r' % (len(want), want, len(got), got))


def texts(port):
    """For both servers, whose output is compared."""
    with smtp(port) as client:
        for text in TEXTS:
            client.sendmail(FROM, TO, text)
            client.sendmail(FROM, TO, lines(text))
        client.sendmail(FROM, TO, TEXTS[0], mail_options=['BODY=8BITMIME'])
        client.sendmail('jörg@example.com', 'bjørn@example.com', 'Subject: ü\n\nß'.encode(),
                        mail_options=['smtputf8', 'body=8bitmime'])
    s, replies = begin(port)
    s.sendall(b'H: a\r\r\n\rb\n\nc\r\n\n\r\n\r.\r\n')
    s.sendall(b'\r\n.\r\nMAIL FROM:<> \r\nRCPT TO:a\r\nDATA\r\n..\r\n.\r\nQUIT\r\n')
    check([b'250', b'250', b'250', b'354', b'250', b'221'], [line[:3] for line in replies])


def delivered(port, path):
    """Byte for byte, many in one session."""
    maildir = Maildir(path)
    large = b''.join(b'%d' % RANDOM.getrandbits(RANDOM.randrange(1, 500)) + b'\n' for _ in range(140000))
    assert len(large) > 10000000
    binary = RANDOM.randbytes(10000000)
    with smtp(port) as client:
        for text in TEXTS:
            assert client.sendmail(FROM, TO, lines(text)) == {}
            check([as_kept(text)], maildir.new())
        for text in large, binary:
            client.sendmail(FROM, TO, lines(text), mail_options=['BODY=8BITMIME'])
            check([as_kept(text)], maildir.new())
        client.sendmail(FROM, TO, 'Subject: str\n\n.\rtext\r\n')
        check([b'Subject: str\n\n.\ntext\n'], maildir.new())
        client.sendmail('jörg@example.com', 'bjørn@example.com', 'Subject: ü\r\n\r\nß'.encode(),
                        mail_options=['SMTPUTF8', 'BODY=8BITMIME'])
        check(['Subject: ü\n\nß\n'.encode()], maildir.new())
        client.sendmail('', TO, b'to the null sender')
        for i in range(50):
            client.sendmail(FROM, TO, b'%d' % i)
        check([b'to the null sender\n'] + [b'%d\n' % i for i in range(50)], maildir.new())


def cut(port, path):
    """Commands and messages, cut anywhere; what has lone CR and LF, or dots."""
    maildir = Maildir(path)
    parts = [b'.', b'..', b'\r', b'\n', b'\r\n', b'\r\n.', b'\r\n..', b'\n.\n', b'\n.\r\n', b'\r.\r',
             b'a', b'\0', b'\xff']
    messages, data = [], b'HELO x\r\n'
    for _ in range(1000):
        lines = b''.join(RANDOM.choices(parts, k=RANDOM.randrange(20))).split(b'\r\n')
        messages.append(b'\n'.join(lines) + b'\n')
        stuffed = b'\r\n'.join(b'.' + line if line[:1] == b'.' else line for line in lines)
        data += b'MAIL FROM:<>\r\nRCPT TO:x\r\nDATA\r\n' + stuffed + b'\r\n.\r\n'
    messages.append(b'')  # what has no line at all
    data += b'MAIL FROM:<>\r\nRCPT TO:x\r\nDATA\r\n.\r\nQUIT\r\n'
    s = socket.create_connection(('127.0.0.1', int(port)), 60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data:
        size = RANDOM.choice([1, 1, 2, 3, 10, 1000])
        s.sendall(data[:size])
        data = data[size:]
    check([b'220', b'250'] + 1001 * [b'250', b'250', b'354', b'250'] + [b'221'],
          [line[:3] for line in s.makefile('rb')])
    check(messages, maildir.new())


def together(port, path):
    """Many clients at once."""
    maildir = Maildir(path)
    clients = [begin(port) for _ in range(50)]
    for i in range(100):
        for number, (s, _) in enumerate(clients):
            s.sendall(b'%d %d\r\n' % (number, i))
    for s, replies in reversed(clients):
        s.sendall(b'.\r\nQUIT\r\n')
        check([b'250', b'221'], [line[:3] for line in replies])
    want = [b''.join(b'%d %d\n' % (number, i) for i in range(100)) for number in range(50)]
    check(want, maildir.new())


def limits(port, path, size):
    """A message that is too large, one that is said to be, and what comes afterwards."""
    maildir = Maildir(path)
    size = int(size)
    with smtp(port) as client:
        check('%d' % size, client.esmtp_features['size'])
        client.sendmail(FROM, TO, b'x' * size)
        for excess, text in (552, b'x' * (size + 1)), (552, b'\r\n' * size), (552, b'x' * 1000 * size):
            client.mail(FROM)
            client.rcpt(TO[0])
            check(excess, client.data(text)[0])
            client.mail(FROM)
            client.rcpt(TO[0])
            check(250, client.data(b'small')[0])
        try:
            client.sendmail(FROM, TO, b'x' * size * 2)
            sys.exit('FAILED: taken')
        except smtplib.SMTPSenderRefused as e:
            check(552, e.smtp_code)
        client.sendmail(FROM, TO, b'last')
    check([b'x' * size + b'\n'] + 3 * [b'small\n'] + [b'last\n'], maildir.new())


def refused(port, code):
    """A message that cannot be kept, and the connection goes on. For 1: at once, at DATA."""
    with smtp(port) as client:
        client.mail(FROM)
        client.rcpt(TO[0])
        check(451, client.data(b'x\n' * 100000)[0] if code == 'end' else client.docmd('DATA')[0])
        check(250, client.rset()[0])
        check(250, client.noop()[0])


def memory(port, path, pid):
    """What clients send without an end stays bounded."""
    def peak():
        return int(re.search(r'VmHWM:\s*(\d+) kB', open('/proc/%s/status' % pid).read())[1])
    before = peak()
    s = socket.create_connection(('127.0.0.1', int(port)), 60)
    for _ in range(500):
        s.sendall(b'x' * 100000)
    s.sendall(b'\r\nQUIT\r\n')
    check([b'220', b'500', b'221'], [line[:3] for line in s.makefile('rb')])
    maildir = Maildir(path)
    s, replies = begin(port)
    for _ in range(300):
        s.sendall(b'x' * 100000)
    s.sendall(b'\r\n.\r\nQUIT\r\n')
    check([b'250', b'221'], [line[:3] for line in replies])
    check([b'x' * 30000000 + b'\n'], maildir.new())
    s = socket.create_connection(('127.0.0.1', int(port)), 60)
    s.setblocking(False)
    sent = 0
    try:
        while sent < 100000000:
            sent += s.send(b'HELP\r\n' * 10000)
    except BlockingIOError:
        pass
    assert sent < 100000000
    s.setblocking(True)
    s.shutdown(socket.SHUT_WR)
    answers = sum(line.startswith(b'250 ') for line in s.makefile('rb'))
    assert abs(answers - sent // 6) <= 1, (answers, sent)
    after = peak()
    assert after - before < 8192, (before, after)


def broken(port, path):
    """Clients that end, or break off, in the middle."""
    for how in 'end', 'reset':
        s, replies = begin(port)
        s.sendall(b'half of a message\r\n.')
        while len(os.listdir(path + '/tmp')) == 0:
            pass
        if how == 'reset':
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        replies.close()
        s.close()
        while len(os.listdir(path + '/tmp')) > 0:
            pass


def idle(port):
    """One that is silent is sent away, one that speaks is not."""
    s, replies = begin(port)
    slow = socket.create_connection(('127.0.0.1', int(port)), 60)
    answers = slow.makefile('rb')
    check(b'220', answers.readline()[:3])
    for _ in range(3):
        slow.settimeout(0.5)
        try:
            slow.recv(1)
            sys.exit('FAILED: something came')
        except TimeoutError:
            slow.settimeout(60)
        slow.sendall(b'NOOP\r\n')
        check(b'250', slow.recv(100)[:3])
    check([b'421'], [line[:3] for line in replies])
    slow.sendall(b'QUIT\r\n')
    check(b'221', slow.recv(100)[:3])


def main():
    cases = {case.__name__: case for case in (texts, delivered, cut, together, limits, refused, memory,
                                              broken, idle)}
    cases[sys.argv[1]](*sys.argv[2:])


main()
