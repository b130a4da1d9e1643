"""The cast of a random scenario: channels, what is around them, and the ways to bring them to each
phase that a channel can be in.
"""

import random

STREAMS = ("tcp", "tcp6", "unix")
DATAGRAMS = ("dgram", "udp")
SOCKETS = (*STREAMS, "socketpair", *DATAGRAMS)
FILES = ("pipe", "file")

NOBODY = {"tcp": "nobody", "tcp6": "nobody6", "unix": "nobody_unix", "socketpair": "nobody_unix",
          "dgram": "nobody_unix", "udp": "nobody"}

MODES = ("select", "poll")

HOSTS = {"tcp": ("localhost", "127.0.0.1"), "tcp6": ("::1",)}

PLAIN_FILE = "plain"  # a class
PATTERN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ123456789"
RESERVED = " in 3"  # the map in which only channels are that are certain to be ready


class Dice:
    """Random choices that are the same everywhere."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def chance(self, percent):
        return self.random.random() * 100 < percent

    def number(self, least, most):
        return self.random.randint(least, most)

    def one(self, *things):
        return self.random.choice(things)

    def weighted(self, *pairs):
        """One of (weight, thing)."""
        return self.random.choices([thing for _, thing in pairs],
                                   [weight for weight, _ in pairs])[0]

    def some(self, things, count):
        return self.random.sample(list(things), min(count, len(things)))


class Member:
    """A channel of the cast, and what is around it: the socket that it takes, its peer, a raw
    listener, and who fills the listener's queue."""

    def __init__(self, dice, number, kind, phase, is_file):
        self.dice = dice
        self.kind = kind
        self.phase = phase
        self.is_file = is_file  # a file_dispatcher, of a file or of a socket
        self.number = number
        self.name = f"c{number}"
        self.own = f"a{number}"
        self.peer = f"p{number}"
        self.listener = f"l{number}"
        self.filler = f"f{number}"
        self.cls = None  # the name of its class
        self.where = dice.weighted((70, ""), (15, " in 1"), (15, " in 2"))
        self.created = "unix" if kind == "socketpair" else kind  # what create_socket makes
        self.is_stream = kind in STREAMS or kind == "socketpair"

    # How it comes to a socket, and which

    def pair(self):
        if self.kind == "socketpair":
            return f"socketpair {self.own} {self.peer}"
        if self.kind == "dgram":
            return f"socketpair {self.own} {self.peer} dgram"
        if self.kind == "pipe":
            return "pipe " + self.dice.one(f"{self.own} {self.peer}", f"{self.peer} {self.own}")
        if self.kind == "file":
            return f"file {self.own} " + self.dice.one("0", "5", "100", '"lines\\nof text\\n"')
        return f"{self.kind} {self.own} {self.peer}"

    def new(self):
        return f"new {self.name} {self.cls}{self.where}"

    def adopt(self, raw=None):
        return f"adopt {self.name} {self.cls} {raw or self.own}{self.where}"

    def create(self):
        return f"{self.name}.create {self.created}"

    def set_socket(self):
        """Another socket, in the place of the one it had."""
        if self.kind == "pipe":
            # Only the construction of a file_dispatcher makes CPython's pipes non-blocking.
            return [self.pair(), f"adopt t {PLAIN_FILE} {self.own}{RESERVED}", "t.close",
                    f"{self.name}.set_file {self.own}"]
        return [self.pair(), f"{self.name}.{'set_file' if self.is_file else 'set_socket'} "
                             f"{self.own}"]

    def listen(self):
        steps = [f"{self.name}.bind", f"{self.name}.listen"]
        if self.kind in HOSTS and self.dice.chance(15):
            steps[0] += "_host " + self.dice.one(*HOSTS[self.kind])
        if self.dice.chance(30):
            steps[1] += self.dice.one(" 0", " 1", " 5")
        if self.dice.chance(30):
            steps.insert(0, f"{self.name}.set_reuse_addr")
        return steps

    def raw_listener(self, backlog=""):
        return f"listener {self.listener} {self.created}{backlog}"

    def nobody(self):
        return f"{self.name}.connect {NOBODY[self.kind]}"

    def flags(self, **values):
        return [f"{self.name}.set {name} {value}" for name, value in values.items()]

    # Phases: the steps that bring it there from nothing

    def reach(self):
        return getattr(self, "reach_" + self.phase)()

    def reach_unconnected(self):
        if self.kind == "none":
            return [self.new()]
        if self.is_file:
            return [*self.reach_connected(), *self.flags(connected=0)]
        ways = [[self.new(), *self.set_socket()]]
        if self.kind != "socketpair":
            ways += [[self.new(), self.create()],
                     [self.new(), self.create()],
                     [self.new(), self.create(), f"{self.name}.bind"],
                     [f"fresh {self.own} {self.created}", self.adopt()],
                     [f"fresh {self.own} {self.created}", self.new(),
                      f"{self.name}.set_socket {self.own}"]]
        return self.dice.one(*ways)

    def reach_connecting(self):
        if self.kind == "none":
            return [self.new(), *self.dice.one([], [f"{self.name}.connect nobody"]),
                    *self.flags(connecting=1)]
        if self.is_file or self.kind == "udp":
            return [*self.reach_unconnected(), *self.flags(connecting=1)]
        if self.kind in ("socketpair", "dgram"):
            return self.dice.one([self.pair(), self.adopt(), self.nobody()],
                                 [*self.reach_unconnected(), self.nobody()])
        return [self.new(), self.create(), *self.under_way()]

    def under_way(self):
        """Pending, refused, or done and not told yet."""
        if self.kind in HOSTS and self.dice.chance(8):
            return [self.raw_listener(), f"{self.name}.connect_host "
                    f"{self.dice.one(*HOSTS[self.kind])} {self.listener}"]
        return self.dice.weighted(
            (4, [self.raw_listener(" 0"), f"dial {self.filler} {self.listener}",
                 f"{self.name}.connect {self.listener}"]),
            (3, [self.nobody()]),
            (1 if self.kind == "unix" else 3,  # for which it is done at once
             [self.raw_listener(), f"{self.name}.connect {self.listener}"]))

    def reach_connected(self):
        if self.kind == "none":
            return [self.new(), *self.flags(connected=1)]
        if self.is_file:
            return [self.pair(), self.adopt()]
        ways = [(6, [self.pair(), self.adopt()]),
                (1, [self.new(), *self.set_socket(), *self.flags(connected=1)])]
        if self.kind in STREAMS:
            ways.append((4, [self.raw_listener(), self.new(), self.create(),
                             f"{self.name}.connect {self.listener}", a_pass(self.dice, self.where),
                             f"{self.listener}.accept {self.peer}"]))
        if self.kind == "udp":
            ways.append((3, [self.new(), self.create(), self.pair(),
                             f"{self.name}.connect {self.peer}"]))
        return self.dice.weighted(*ways)

    def reach_listening(self):
        steps = self.dice.weighted((4, [self.new(), self.create(), *self.listen()]),
                                   (1, [self.raw_listener(), self.adopt(self.listener)]))
        return steps + self.dice.weighted((1, []), (1, [f"dial {self.peer} {self.name}"]))

    def reach_half_closed(self):
        steps = self.reach_connected()
        if self.dice.chance(30) and self.is_stream:
            steps.append(f"{self.peer}.send {self.dice.one('3', '30')}")
        if self.is_stream and (self.is_file or self.dice.chance(80)):
            return steps + [f"{self.peer}.shutdown w"]
        if self.is_file:
            return steps + [f"{self.own}.shutdown r"]
        return steps + [f"{self.name}.shutdown r"]

    def reach_reset(self):
        steps = self.reach_connected()
        if self.kind == "pipe":
            return steps + self.dice.one([], [f"{self.peer}.send 20"]) + [f"{self.peer}.close"]
        both = [f"{self.own if self.is_file else self.name}.shutdown rw"]
        if self.kind == "dgram":
            return steps + both
        if self.kind == "udp":
            return steps + self.dice.one(both, [f"{self.peer}.close", f"{self.name}.send 3"])
        if self.dice.chance(30):
            steps.append(f"{self.peer}.send {self.dice.one('3', '30')}")
        ways = [[f"{self.peer}.reset"], [f"{self.peer}.reset"], [f"{self.name}.send 5",
                                                                 f"{self.peer}.close"]]
        if not self.is_file:
            ways.append([f"{self.peer}.shutdown w", f"{self.name}.shutdown w"])
        return steps + self.dice.one(*ways)

    def reach_closed(self):
        phases = [phase for kind, phase in REACHABLE if kind == self.kind and phase not in
                  ("closed", "reconnecting")]
        if self.is_file and "listening" in phases:
            phases.remove("listening")
        before = self.dice.one("connected", *phases)
        return getattr(self, "reach_" + before)() + [
            f"{self.name}." + self.dice.weighted((4, "close"), (1, "handle_close"))]

    def reach_reconnecting(self):
        steps = self.reach_closed()
        if self.dice.chance(10):
            steps = self.reach_connected()  # and the old socket is just dropped
        if self.is_file or self.kind == "socketpair" or self.dice.chance(20):
            return steps + self.set_socket()
        steps.append(self.create())
        if self.kind in STREAMS and self.dice.chance(70):
            steps += self.under_way()
        return steps

    # What can happen to it

    def again(self):
        """Another socket, for a channel that may have one or not."""
        if self.is_file:
            return [f"{self.name}.close", *self.set_socket()]
        if self.kind == "none":
            return [f"{self.name}.create tcp", f"{self.name}.connect nobody"]
        if self.kind in STREAMS:
            return [f"{self.name}.close", self.create(), self.raw_listener(),
                    f"{self.name}.connect {self.listener}"]
        return [f"{self.name}.close", *self.set_socket()]

    def raw_action(self):
        """Something that its raw peer does; the steps."""
        dice = self.dice
        peer = self.peer
        if self.kind == "none":
            return [f"{self.name}.state"]
        if self.kind == "file":
            return [dice.one(f'{self.own}.send "more"', f"{self.own}.recv 10", f"{self.own}.drain",
                             f"{self.own}.flags")]
        if self.kind == "pipe":
            return [dice.weighted((5, f"{peer}.send {dice.one('1', '20', '300', '4000')}"),
                                  (2, f"{peer}.close"), (2, f"{peer}.recv 100"),
                                  (1, f"{peer}.drain"), (1, f"{self.own}.close"),
                                  (1, f"{self.own}.flags"))]
        if self.phase == "listening":
            return [f"dial {peer} {self.name}"] + dice.weighted(
                (2, []), (3, [f"{peer}.send {dice.one('3', '30')}"]), (1, [f"{peer}.reset"]),
                (1, [f"{peer}.close"]), (1, [f"{peer}.shutdown w"]),
                (1, [f"dial {self.filler} {self.name}"]))
        actions = [(12, [f"{peer}.send {self.size()}"]), (3, [f"{peer}.close"]),
                   (3, [f"{peer}.recv 100"]), (1, [f"{peer}.drain"]), (1, [f"{self.own}.flags"]),
                   (1, [f"{peer}.send {self.size()}", f"{peer}.close"])]
        if self.kind in STREAMS:
            actions += [(4, [f"{self.listener}.accept {peer}"]),
                        (1, [f"dial {peer} {self.listener}"])]
        if self.is_stream:
            actions += [(4, [f"{peer}.shutdown w"]), (1, [f"{peer}.shutdown r"]),
                        (1, [f"{peer}.shutdown rw"]), (3, [f"{peer}.reset"])]
        if self.kind in ("tcp", "tcp6"):
            actions += [(3, [f"{peer}.oob"]), (1, [f"{peer}.oob", f"{peer}.send 5"]),
                        (1, [f"{peer}.send 5", f"{peer}.oob"])]
        return dice.weighted(*actions)

    def size(self):
        return self.dice.one("1", "3", "10", "100", "1000", '"text\\n"', '"\\0\\"\\\\"')


SOCKET_PHASES = ("unconnected", "connecting", "connected", "half_closed", "reset", "closed",
                 "reconnecting")
REACHABLE = (
    *(("none", phase) for phase in ("unconnected", "connecting", "connected", "connecting")),
    *((kind, phase) for kind in STREAMS for phase in (*SOCKET_PHASES, "listening")),
    *((kind, phase) for kind in ("socketpair", *DATAGRAMS) for phase in SOCKET_PHASES),
    *(("pipe", phase) for phase in SOCKET_PHASES if phase != "half_closed"),
    *(("file", phase) for phase in SOCKET_PHASES if phase not in ("half_closed", "reset")),
)


def a_pass(dice, where, mode=None):
    mode = mode or dice.one(*MODES)
    timeout = dice.weighted((85, "0"), (12, "0.001"), (3, "0.003"))
    count = dice.weighted((5, 1), (3, 2), (2, 3), (1, 5))
    return dice.one(f"loop {timeout} {mode} {count}",
                    f"{'poll2' if mode == 'poll' else 'poll'} {timeout}") + where
