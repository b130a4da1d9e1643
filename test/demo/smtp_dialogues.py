"""The same dialogues with smtp_server and with CPython's smtpd: the same reply codes.

Usage: smtp_dialogues.py OURS THEIRS SIZE [--no-smtputf8]

The first two are ports; both must have been started for messages of up to SIZE bytes, of 1000 or
more. Each dialogue is also held with ours alone with all of its commands in one piece, and with
every byte a piece of its own.
"""
import socket
import sys

CLOSED = 'closed'
OURS, THEIRS, SIZE = map(int, sys.argv[1:4])
UTF8 = '--no-smtputf8' not in sys.argv

HELO = b'HELO client'
EHLO = b'EHLO client'
FROM = b'MAIL FROM:<a@example.com>'
TO = b'RCPT TO:<b@example.com>'
BODY = b'Subject: x\r\n\r\ntext\r\n.'


def padded(command, size):
    return command + b'x' * (size - len(command))


def message(size):
    """As many bytes as count, in lines."""
    return (b'x' * 50 + b'\r\n') * (size // 52) + b'y' * (size % 52) + b'\r\n.'


# What ends with a dot in a line of its own is a message, everything else a command.
DIALOGUES = [
    # A message, and what may be said when.
    [HELO, FROM, TO, b'DATA', BODY, b'QUIT'],
    [EHLO, FROM, TO, TO, TO, b'DATA', BODY, FROM, TO, b'DATA', BODY, b'QUIT'],
    [EHLO, FROM, TO, b'DATA', BODY, b'DATA', TO, FROM, b'DATA', b'QUIT'],
    [FROM, TO, b'DATA', b'RSET', b'NOOP', b'VRFY a@b', b'HELP', b'EXPN list', b'QUIT'],
    [HELO, TO, b'DATA', FROM, b'DATA', TO, FROM, b'DATA x', b'DATA', BODY],
    [HELO, FROM, FROM, b'RSET', FROM, TO, b'RSET', TO, b'DATA', FROM, TO, b'RSET', FROM],
    [HELO, HELO, EHLO, FROM, HELO, EHLO],
    [EHLO, EHLO, HELO, FROM, HELO, TO],
    [b'HELO', b'HELO ', b'EHLO', b'EHLO  ', b'MAIL', HELO, b'HELO', b'EHLO', b'MAIL'],
    [b'RSET', HELO, b'RSET', HELO, b'RSET x', b'RSET '],
    [b'NOOP', b'NOOP x', b'NOOP ', b'noop', b'NoOp', b' NOOP'],
    [b'QUIT'],
    [b'QUIT now'],
    [b'quit'],
    [b'EXPN', b'EXPN x', b'expn x'],
    [HELO, FROM, b'QUIT'],
    # Commands that there are not.
    [b'', b' ', b'  ', b'\t', b'X', b'X Y', b'MAILX FROM:<a@b>', b'NOOP\tx', b'HELO\tclient'],
    [b'smtp_HELO x', b'__init__', b'STARTTLS', b'AUTH PLAIN', b'TURN', b'BDAT 3', b'SEND', b'ETRN x'],
    [HELO, b'XYZZY', FROM, b'XYZZY', TO, b'XYZZY', b'DATA', BODY, b'XYZZY'],
    [b'NO\nOP', b'NOOP\n', b'NOOP\r', b'\rNOOP', b'\n', b'\r'],
    # Help.
    [b'HELP ' + word for word in b'EHLO HELO MAIL RCPT DATA RSET NOOP QUIT VRFY'.split()],
    [EHLO] + [b'help ' + word for word in b'ehlo helo mail rcpt data rset noop quit vrfy'.split()],
    [b'HELP', b'HELP ', b'HELP HELP', b'HELP EXPN', b'HELP x', b'HELP MAIL RCPT', b'HELP  DATA '],
    # VRFY.
    [b'VRFY', b'VRFY ', b'VRFY a', b'VRFY a@b', b'VRFY <a@b>', b'VRFY a b', b'VRFY "a b"@c'],
    [HELO, b'VRFY a@b x', b'VRFY <>', b'VRFY <a@b> x'],
    # The sender.
    [HELO, b'MAIL FROM:<>', FROM, TO, b'DATA', BODY],
    [EHLO, b'MAIL FROM:<>', b'RCPT TO:<>', b'DATA', BODY],
    [EHLO, b'MAIL FROM:<> SIZE=10', b'RSET', b'MAIL FROM:<>SIZE=10', b'RSET', b'MAIL FROM:<> x'],
    [EHLO, b'MAIL FROM:<> (x)', b'MAIL FROM:<>(x)', b'MAIL FROM:<a> (x)'],
    [HELO, b'MAIL FROM:<> SIZE=10', b'MAIL FROM:<>SIZE=10', b'MAIL FROM:<> ', b'MAIL FROM:<>'],
    [HELO, b'MAIL', b'MAIL ', b'MAIL FROM', b'MAIL FROM:', b'MAIL FROM: ', b'MAIL <a@b>', b'MAIL x'],
    [EHLO, b'MAIL', b'MAIL ', b'MAIL FROM', b'MAIL FROM:', b'MAIL FROM <a@b>', b'MAIL TO:<a@b>'],
    [EHLO, b'MAIL FROM :<a@b>', b'MAIL  FROM:<a@b>', b'RSET', b'mail from: <a@b> '],
    [EHLO, b'Mail From:a@b', b'RSET', b'MAIL FROM:a', b'RSET', b'MAIL FROM:<a>', b'RSET'],
    [EHLO, b'MAIL FROM:a@b SIZE=1', b'RSET', b'MAIL FROM: a@b.c  SIZE=1', b'RSET',
     b'MAIL FROM:a SIZE=1'],
    [HELO, b'MAIL FROM:"a b"@c', b'RSET', b'MAIL FROM:<"a b"@c>', b'RSET', b'MAIL FROM:<"a\\"b"@c>',
     b'RSET', b'MAIL FROM:<"a@b"@c>', b'RSET', b'MAIL FROM:<""@c>', b'RSET', b'MAIL FROM:<"">'],
    [EHLO, b'MAIL FROM:<"a>b"@c> SIZE=1', b'RSET', b'MAIL FROM:"a>b"@c SIZE=1', b'RSET',
     b'MAIL FROM:<"a\\\\"@c> SIZE=1', b'RSET', b'MAIL FROM:<"a> SIZE=1'],
    [HELO, b'MAIL FROM:<a.b@c>', b'RSET', b'MAIL FROM:<.a@c>', b'RSET', b'MAIL FROM:<a..b@c>',
     b'RSET', b'MAIL FROM:<a.@c>', b'RSET', b'MAIL FROM:<a b@c>', b'RSET', b'MAIL FROM:<a\\b@c>'],
    [HELO, b'MAIL FROM:<a@b', b'RSET', b'MAIL FROM:<a@b>>', b'MAIL FROM:<a@b>x', b'MAIL FROM:<a@b> x'],
    [EHLO, b'MAIL FROM:<a@b SIZE=1', b'RSET', b'MAIL FROM:<a@b>>', b'MAIL FROM:<a@b>x'],
    [EHLO, b'MAIL FROM:<a@[127.0.0.1]>', b'RSET', b'MAIL FROM:<a@[IPv6:::1]> SIZE=1', b'RSET',
     b'MAIL FROM:a@[127.0.0.1]'],
    [EHLO, b'MAIL FROM:<@x,@y:a@b> SIZE=1', b'RSET', b'MAIL FROM:<@x:a@b>', b'RSET',
     b'MAIL FROM:<(x) a (y) @ (z) b (\\) (u)) > (v) SIZE=1', b'RSET', b'MAIL FROM:(x) a@b (y)'],
    # The recipients.
    [HELO, FROM, b'RCPT', b'RCPT ', b'RCPT TO', b'RCPT TO:', b'RCPT FROM:<a@b>', b'RCPT <a@b>',
     b'RCPT TO:<a@b> x', b'RCPT TO: <a@b>', b'rcpt to:a', b'RCPT TO:"a b"@c'],
    [EHLO, FROM, b'RCPT', b'RCPT TO', b'RCPT TO:', b'RCPT TO:<a@b> x', b'RCPT TO:<a@b> x=y',
     b'RCPT TO:<a@b> x=', b'RCPT TO:<a@b> =', b'RCPT TO:<a@b> -', b'RCPT TO:<a@b> SIZE=1',
     b'RCPT TO:<a@b> NOTIFY=NEVER x-y', b'DATA', b'RCPT TO:<a@b> ', b'DATA', BODY],
    [HELO, b'RCPT', b'RCPT x', FROM, b'DATA x', TO, b'DATA ', BODY],
    # Parameters.
    [EHLO, FROM + b' SIZE=0', b'RSET', FROM + b' size=%d' % SIZE, b'RSET', FROM + b' SIZE=%d' % (SIZE + 1),
     FROM + b' SIZE=99999999999999999999999999', FROM + b' SIZE=', FROM + b' SIZE=x', FROM + b' SIZE=-1',
     FROM + b' SIZE=1 x', FROM + b' SIZE=%d x' % (SIZE + 1), FROM + b' SIZE=%d SIZE=1' % (SIZE + 1)],
    [EHLO, FROM + b' BODY=7BIT', b'RSET', FROM + b' BODY=8BITMIME', b'RSET', FROM + b' body=8bitmime',
     b'RSET', FROM + b' BODY=x', FROM + b' BODY=', FROM + b' BODY', FROM + b' BODY=BINARYMIME',
     FROM + b' BODY=x x', FROM + b' BODY=7BIT x'],
    [EHLO, FROM + b' SMTPUTF8', b'RSET', FROM + b' smtputf8', b'RSET', FROM + b' SMTPUTF8=x',
     FROM + b' SMTPUTF8=', FROM + b' SMTPUTF8 x', FROM + b' SMTPUTF8=x BODY=x',
     FROM + b' SMTPUTF8 SIZE=%d' % (SIZE + 1), FROM + b' SMTPUTF8  BODY=8BITMIME \t SIZE=10'],
    [EHLO, FROM + b' x', FROM + b' x=y', FROM + b' x=y=z', FROM + b' =', FROM + b' =x', FROM + b' x-y',
     FROM + b' AUTH=<>', FROM + b' RET=FULL', FROM + b' ,', TO, FROM + b' BODY=8BITMIME', FROM + b' x',
     FROM + b' =', TO],
    [HELO, FROM + b' SIZE=1', FROM + b' BODY=8BITMIME', FROM + b' SMTPUTF8', FROM + b' ', TO],
    # How long commands may be.
    [padded(b'NOOP ', 512), padded(b'NOOP ', 513), padded(b'HELO ', 512), padded(b'NOOP ', 600), b'NOOP'],
    [padded(b'X', 512), padded(b'X', 513), padded(b'X', 100000), padded(b'', 512), padded(b'', 513)],
    [HELO, padded(FROM, 512), b'RSET', padded(b'MAIL FROM:<a@', 512), b'RSET',
     padded(b'MAIL FROM:<a@', 513), padded(b'MAIL FROM:<a@', 548), TO],
    [EHLO] + [step for size in (512, 513, 538, 539, 547, 548, 549, 1000)
              for step in (padded(b'MAIL FROM:<a@', size), b'RSET')],
    [EHLO, FROM, padded(b'RCPT TO:<a@', 512), padded(b'RCPT TO:<a@', 513), padded(b'RCPT TO:<a@', 548),
     padded(b'RCPT TO:<a@', 549), padded(b'VRFY ', 513), padded(b'HELP ', 512), b'DATA', BODY],
    [padded(b'EHLO ', 513), EHLO, padded(b'mail from:<a@', 530), b'RSET ' + b' ' * 507,
     b'RSET ' + b' ' * 508],
    # Messages.
    [EHLO, FROM, TO, b'DATA', b'\r\n.', FROM, TO, b'DATA', b'\r\n\r\n\r\n.', FROM],
    [EHLO, FROM, TO, b'DATA', b'..\r\n.x\r\n...\r\n.', FROM],
    [EHLO, FROM, TO, b'DATA', b'a\n.\n\r.\r\n.\r\r\n .\r\n. \r\nQUIT\r\n.', b'NOOP'],
    [HELO, FROM, TO, b'DATA', b'NOOP\r\nQUIT\r\nRSET\r\n.', b'NOOP'],
    [HELO, FROM, TO, b'DATA', bytes(set(range(256)) - {10, 13}) + b'\r\n.', FROM, TO, b'DATA'],
    [HELO, FROM, TO, b'DATA', b'x' * (SIZE - 100) + b'\r\n.', FROM],
    # One that is as large as it may be, counted with its dots, but not its last CRLF.
    [HELO, FROM, TO, b'DATA', message(SIZE), FROM],
    [EHLO, FROM, TO, b'DATA', b'.' * SIZE + b'\r\n.', FROM],
    [EHLO, FROM, TO, b'DATA', b'\r\n' * (SIZE // 2) + b'x' * (SIZE % 2) + b'\r\n.', FROM],
    # And one that is larger: there smtpd does not find the way back to commands.
    [HELO, FROM, TO, b'DATA', message(SIZE + 1)],
    [EHLO, FROM, TO, b'DATA', b'.' * (SIZE + 1) + b'\r\n.'],
    [EHLO, FROM, TO, b'DATA', b'\r\n' * (SIZE // 2 + 1) + b'\r\n.'],
    [EHLO, FROM + b' SIZE=1', TO, b'DATA', message(3 * SIZE)],
    [EHLO, FROM + b' SIZE=1', TO, b'DATA', message(SIZE)],
    # UTF-8.
    ['EHLO höst'.encode(), 'MAIL FROM:<jörg@exämple.com>'.encode(), 'RCPT TO:<bjørn@b>'.encode(),
     b'DATA', BODY],
    ['EHLO höst'.encode(), FROM + ' é'.encode(), FROM + ' é=ü'.encode(), FROM + ' BODY=ü'.encode(),
     FROM + ' SIZE=ü'.encode(), 'HELP ü'.encode()],
]

# What smtpd's own parser, or its answer in ASCII, fails for: it closes the connection. The last
# command of each, and ours.
FAILING = [
    ([EHLO, b'MAIL FROM:<'], b'501'),
    ([EHLO, b'MAIL FROM:@'], b'501'),
    ([EHLO, b'MAIL FROM:<@'], b'501'),
    ([EHLO, b'MAIL FROM:<@>'], b'501'),
    ([EHLO, b'MAIL FROM:<a@>'], b'501'),
    ([EHLO, b'MAIL FROM:<a@b@c>'], b'501'),
    ([EHLO, b'MAIL FROM:<a@b.>'], b'501'),
    ([EHLO, b'MAIL FROM:<a@.b>'], b'501'),
    ([EHLO, b'MAIL FROM:<a@b..c>'], b'501'),
    ([EHLO, b'MAIL FROM:<a@[b>'], b'501'),
    ([EHLO, b'MAIL FROM:<a@[b[>'], b'501'),
    ([EHLO, b'MAIL FROM:<@x>'], b'501'),
    ([EHLO, b'MAIL FROM:<@x,a@b>'], b'501'),
    ([EHLO, b'MAIL FROM:(x) <a@b>'], b'501'),
    ([EHLO, b'MAIL FROM:<(x)@b>'], b'501'),
    ([EHLO, FROM, b'RCPT TO:<a@b@c>'], b'501'),
    ([EHLO, FROM, b'RCPT TO:,'], b'501'),
    ([EHLO, FROM + b' SIZE'], b'501'),
    ([b'VRFY @'], b'502'),
    ([b'VRFY <a@b@c>'], b'502'),
    ([b'\xff'], b'500'),
    ([EHLO, b'MAIL FROM:<\xe9@b>'], b'500'),
    (['Ä'.encode()], b'500'),
]


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), 10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile('rb')

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        line = b''
        while not line.endswith(b'\r\n'):  # smtpd repeats a command that has LF in it
            # smtpd sends the lines of a reply one by one, and waits for the client's ACK.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            try:
                more = self.file.readline()
            except ConnectionResetError:  # it had not read everything
                more = b''
            if not more:
                break
            line += more
        return line

    def reply(self):
        """The code, for EHLO with the extensions; or CLOSED."""
        lines = []
        while not lines or lines[-1][3:4] == b'-':
            line = self.line()
            if not line:
                return CLOSED
            assert line.endswith(b'\r\n') and line[:3].isdigit() and line[3:4] in b' -', line
            assert not lines or line[:3] == lines[0][:3], (lines, line)
            lines.append(line[:-2])
        return b' '.join([lines[0][:3]] + [line[4:] for line in lines[1:]])

    def close(self):
        self.file.close()
        self.socket.close()


def in_turns(port, dialogue):
    """A command, its reply, and so on."""
    client = Client(port)
    replies = [client.reply()]
    for step in dialogue:
        client.send(step + b'\r\n')
        replies.append(client.reply())
        if replies[-1] == CLOSED:
            break
    client.close()
    return replies


def at_once(dialogue, pieces):
    client = Client(OURS)
    for piece in pieces(b''.join(step + b'\r\n' for step in dialogue)):
        client.send(piece)
    replies = [client.reply() for _ in range(len(dialogue) + 1)]
    client.close()
    return replies


def check(dialogue, want, got, what):
    if want != got:
        for i, step in enumerate([b'(connection)'] + dialogue):
            print(step[:60], *(r[i] if i < len(r) else None for r in (want, got)), file=sys.stderr)
        sys.exit('FAILED: ' + what)


def main():
    replies = 0
    for dialogue in DIALOGUES:
        want = in_turns(THEIRS, dialogue)
        assert CLOSED not in want and len(want) == len(dialogue) + 1, (dialogue, want)
        check(dialogue, want, in_turns(OURS, dialogue), 'smtpd, ours')
        check(dialogue, want, at_once(dialogue, lambda data: [data]), 'in turns, at once')
        if sum(map(len, dialogue)) < 1500:
            check(dialogue, want, at_once(dialogue, lambda data: [data[i:i + 1] for i in range(len(data))]),
                  'in turns, byte by byte')
        replies += len(want)
    for dialogue, code in FAILING:
        theirs = in_turns(THEIRS, dialogue)
        ours = in_turns(OURS, dialogue + [b'NOOP'])
        assert theirs[-1] == CLOSED and len(theirs) == len(dialogue) + 1, (dialogue, theirs)
        check(dialogue, theirs[:-1] + [code, b'250'], ours, 'where smtpd fails')
    print('%d dialogues, %d replies; %d where smtpd fails' % (len(DIALOGUES), replies, len(FAILING)))


main()
