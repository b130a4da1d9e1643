"""CPython's own smtpd, for comparison: prints its port, and then the messages as DebuggingServer does.

Usage: smtp_peer.py SIZE [--no-smtputf8]
"""
import sys
import warnings

warnings.simplefilter('ignore', DeprecationWarning)
import asyncore
import smtpd
import socket

socket.getfqdn = socket.gethostname  # asks no name server
server = smtpd.DebuggingServer(('127.0.0.1', 0), None, data_size_limit=int(sys.argv[1]),
                               enable_SMTPUTF8='--no-smtputf8' not in sys.argv)
print('listening on 127.0.0.1:%d' % server.socket.getsockname()[1], flush=True)
sys.stdout.reconfigure(line_buffering=True)
asyncore.loop()
