#!/usr/bin/env python3
"""Writes random scenarios.

    generate.py --seed N                    one
    generate.py --seeds A..B                many, A and B included
    generate.py --seeds A..B --coverage     runs them in oracle.py, and tells which states the
                                            methods met

The same seed gives the same text everywhere.

A scenario has a cast of one to three channels. Each is brought to one of the phases that a channel
of its kind can be in; then things happen to it, mostly with a pass behind. The classes do what one
would expect in most of their methods, and wild things in some calls of some.

All scenarios end: what a method does at every call cannot lead to the same method again, and what
could is done at one call only, by its number.
"""

import argparse
import sys

import scenario
from cast import (DATAGRAMS, FILES, MODES, NOBODY, PLAIN_FILE, REACHABLE, SOCKETS, STREAMS, Dice,
                  Member, a_pass)
from generate_chat import ChatWriter
from generate_chat import EVERY as EVERY_CHAT
from generate_scenes import SceneWriter

DISCONNECTED = ("ECONNRESET", "ENOTCONN", "ESHUTDOWN", "ECONNABORTED", "EPIPE", "EBADF")
ERRORS = (*DISCONNECTED, "EAGAIN", "EINVAL", "ENOMEM", "EIO", "ECONNREFUSED", "ETIMEDOUT",
          "EINPROGRESS", "EPERM", "ENOENT", "EINTR")
FLAGS = ("POLLIN", "POLLOUT", "POLLPRI", "POLLHUP", "POLLERR", "POLLNVAL")

# --- what methods do -----------------------------------------------------------------------------

# What a method does at every call: none of these may lead to the method itself again.

EVERY = {
    "readable": ((5, "return 1"), (1, "return 0"), (2, "return connected"), (2, "super"),
                 (1, "return buffer"), (1, "return accepting")),
    "writable": ((2, "return 1"), (2, "return 0"), (3, "return buffer"), (2, "super"),
                 (2, "return connecting")),
    "handle_read_event": ((5, "super"), (1, "handle_read"), (1, "handle_accept"), (1, "")),
    "handle_write_event": ((5, "super"), (1, "handle_write"), (1, "")),
    "handle_expt_event": ((4, "super"), (1, "handle_expt"), (1, "handle_close")),
    "handle_connect_event": ((5, "super"), (1, "super; put 3"), (1, "set connected 1")),
    "handle_read": ((5, "recv 100"), (3, "recv 8192; if it send it"), (2, "recv 3"),
                    (2, "recv 8192; if it put it"), (1, "recv 5; if it recv 5"), (1, "super"),
                    (1, "recv 50; close"), (1, "recv 50; unless it log \"end\""), (1, ""),
                    (0.5, "recv 0")),
    "handle_write": ((4, "send buffer"), (2, "send buffer 2"), (2, "send 4"), (2, "super"),
                     (1, "send \"last\"; close"), (1, "send 1000"), (1, "")),
    "handle_expt": ((3, "super"), (1, "recv 10"), (1, "close"), (1, "")),
    "handle_connect": ((2, "send \"hello\""), (3, "put \"hello\""), (2, "super"), (2, ""),
                       (1, "send 3; close")),
    "handle_accept": ((4, "super"), (2, "accept q1"), (1, "accept q1; q1.send 5"), (1, "")),
    "handle_accepted": ((2, "keep q2"), (1, "keep q2; q2.send 5"), (1, "super"), (1, "")),
    "handle_close": ((6, "close"), (2, "super"), (2, "log \"gone\"; close"), (1, "")),
    "handle_error": ((5, "super"), (2, "close"), (1, "handle_close"), (1, "")),
    "send": ((6, "super"), (1, "log \"sending\"; super"), (1, "return 0")),
    "recv": ((6, "super"), (1, "super; log \"received\""), (1, "")),
    "close": ((6, "super"), (1, "log \"closing\"; super"), (1, "super; log \"closed\""), (1, "")),
    "log": ((3, "super"), (1, "")),
    "log_info": ((6, "super"), (2, ""), (2, "super; log \"info\""), (1, "close")),
}

# For a class of sockets only, or of dispatcher_with_send.
EVERY_SOCKET = {
    "handle_read": ((2, "socket_recv 2 peek; recv 100"), (1, "recvfrom 100"),
                    (1, "recv 20; shutdown w")),
    "handle_write": ((1, "send 3; shutdown w"), (1, "socket_send 4")),
    "handle_expt": ((3, "socket_recv 1 oob"), (1, "try socket_recv 1 oob; recv 100")),
}
EVERY_WITH_SEND = {
    "handle_write": ((4, "initiate_send"), (4, "super")),
    "handle_connect": ((3, "send 30"),),
}

# Leaving these out makes most channels ask for nothing, or do nothing.
USUAL = ("handle_read", "handle_write", "handle_accepted", "handle_close", "handle_expt")
# An async_chat is of no use without these.
NEEDED = scenario.CHAT_METHODS


# What passes call seldom, and is called directly the more often.
SELDOM = ("handle_expt_event", "handle_expt_event", "handle_connect_event", "handle_connect_event",
          "handle_connect", "handle_connect", "handle_read_event", "handle_error")


class Actor:
    """A class, and who is of it."""

    def __init__(self, name, super_name, kind=None):
        self.cls = scenario.Class(name, super_name)
        self.name = name
        self.kind = kind  # of all its channels; None: of several
        self.is_file = super_name == "file_dispatcher"
        self.with_send = super_name == "dispatcher_with_send"
        self.is_chat = super_name == "async_chat"

    def methods(self):
        return self.cls.known_methods()

    def every(self, method):
        bodies = EVERY[method]
        if not self.is_file:
            bodies += EVERY_SOCKET.get(method, ())
        if self.with_send:
            bodies += EVERY_WITH_SEND.get(method, ())
        return bodies

    def set(self, method, number, body):
        self.cls.methods.setdefault(method, {})[number] = scenario.actions_of(body)


class Writer(ChatWriter, SceneWriter):
    """Writes one scenario."""

    def __init__(self, seed):
        self.seed = seed
        self.dice = Dice(seed)
        self.plan = scenario.Scenario(f"seed-{seed}")
        self.actors = []
        self.cast = []
        self.leaf = None  # the class of channels that other channels make
        self.leaf_file = None

    def add_steps(self, *steps):
        for step in steps:
            self.plan.steps += scenario.actions_of(step)

    def add_actor(self, super_name, kind=None):
        actor = Actor(f"k{len(self.actors) + 1}", super_name, kind)
        self.actors.append(actor)
        self.plan.classes[actor.name] = actor.cls
        return actor

    def write(self):
        dice = self.dice
        self.begin_chat()
        self.choose_cast()
        self.leaf = self.add_actor(dice.one("dispatcher", "dispatcher_with_send", "async_chat"))
        if any(member.is_file for member in self.cast):
            self.leaf_file = self.add_actor("file_dispatcher")
            self.plan.classes[PLAIN_FILE] = scenario.Class(PLAIN_FILE, "file_dispatcher")
        for actor in self.actors:
            self.write_methods(actor)
        if dice.chance(80):
            self.focus()
        else:
            self.wander()
        for _ in range(dice.weighted((4, 1), (4, 3), (3, 5), (1, 8))):
            self.happen()
        dice.weighted((55, lambda: None), (4, self.add_certain), (3, self.add_loss),
                      (4, self.add_queue), (3, self.add_mixed), (15, self.add_chat),
                      (16, self.add_output))()
        if dice.chance(30):
            self.add_steps(self.some_pass())
        self.drop_unused_classes()
        return self.plan

    def drop_unused_classes(self):
        words = {word for step in self.plan.steps for word in step}
        for cls in self.plan.classes.values():
            for calls in cls.methods.values():
                words.update(word for actions in calls.values() for action in actions
                             for word in action)
        for name in list(self.plan.classes):
            if name not in words:
                del self.plan.classes[name]

    def choose_cast(self):
        dice = self.dice
        for number in range(1, 1 + dice.weighted((4, 1), (5, 2), (3, 3))):
            if number == 1:
                kind, phase = REACHABLE[self.seed % len(REACHABLE)]
            else:
                kind, phase = dice.weighted(*(
                    ((4 if phase in ("connected", "listening") else 1)
                     * (2 if kind in STREAMS else 1), (kind, phase)) for kind, phase in REACHABLE))
            is_file = kind in FILES or (kind in SOCKETS and phase != "listening"
                                        and dice.chance(5))
            member = Member(dice, number, kind, phase, is_file)
            if number == 1 and kind not in FILES and not set(NEEDED).isdisjoint(self.focused()):
                member.is_file = False
                member.cls = self.add_actor("async_chat", kind).name
            else:
                self.choose_class(member)
            self.cast.append(member)

    def choose_class(self, member):
        dice = self.dice
        for other in self.cast:
            if (other.kind, other.is_file) == (member.kind, member.is_file) and dice.chance(40):
                member.cls = other.cls
                return
        super_name = ("file_dispatcher" if member.is_file
                      else dice.weighted((6, "dispatcher"), (4, "dispatcher_with_send"),
                                         (5, "async_chat")))
        member.cls = self.add_actor(super_name, member.kind).name

    def write_methods(self, actor):
        dice = self.dice
        if actor.is_chat:
            self.write_chat_sizes(actor)
        for method in actor.methods():
            likely = 90 if method in NEEDED else 60 if method in USUAL else 22
            if not dice.chance(likely):
                continue
            if dice.chance(15):
                actor.cls.methods[method] = {}  # only traced
            else:
                actor.set(method, scenario.EVERY_CALL, self.every(actor, method))
        for _ in range(dice.weighted((2, 0), (4, 1), (3, 2), (1, 4))):
            method = dice.one(*actor.methods())
            actor.set(method, dice.weighted((6, 1), (3, 2), (1, 3)), self.wild_body(actor, method))

    def every(self, actor, method):
        dice = self.dice
        if method == "handle_accepted" and actor is not self.leaf and dice.chance(75):
            return self.adopt_accepted()
        if method == "handle_connect" and dice.chance(20):
            return dice.one("put 5; super", "log \"connected\"")
        if actor.is_chat and method in EVERY_CHAT:
            return self.chat_every(method)
        return dice.weighted(*actor.every(method))

    def adopt_accepted(self):
        dice = self.dice
        name = dice.one("h1", "h1", "h2", "_")
        body = f"adopt {name} {self.leaf.name} sock" + dice.weighted((4, ""), (1, " in 1"))
        if name != "_" and self.leaf.is_chat:
            body += f"; {name}.set_terminator {self.terminator()}"
            body += f"; {name}.{self.chat_action()}" if dice.chance(40) else ""
        if name != "_":
            body += dice.weighted((6, ""), (1, f"; {name}.send 5"), (1, f"; {name}.close"))
        return body

    # Wild actions, of the n-th call only

    def wild_body(self, actor, method):
        dice = self.dice
        actions = []
        for _ in range(dice.weighted((6, 1), (3, 2), (1, 3))):
            action = self.wild(actor)
            if dice.chance(40) and not action.startswith(("raise", "exit", "if", "unless")):
                action = "; ".join("try " + part for part in action.split("; "))
            actions.append(action)
        if dice.chance(60):
            actions.insert(0 if dice.chance(50) else len(actions), self.every(actor, method))
        elif method in ("readable", "writable"):
            actions.append(dice.one("return 0", "return 1", "super"))
        if any("return" in action for action in actions[:-1]):
            actions.reverse()
        return "; ".join(action for action in actions if action)

    def wild(self, actor):
        is_leaf = actor in (self.leaf, self.leaf_file)
        weights = [(5, self.wild_raise), (4, self.wild_close), (6, self.wild_call),
                   (4, self.wild_raw), (3, self.wild_small), (2, self.wild_global),
                   (2, self.wild_member), (2, self.wild_condition)]
        if not is_leaf:
            weights += [(3, self.wild_pass), (3, self.wild_new), (3, self.wild_again),
                        (1, self.wild_dial)]
        return self.dice.weighted(*weights)(actor)

    def other(self):
        """The name of a channel, maybe of one that is not there yet."""
        return self.dice.one(*self.cast).name

    def wild_raise(self, actor):
        if self.dice.chance(12):
            return "exit"
        return "raise " + (self.dice.one(*ERRORS))

    def wild_close(self, actor):
        return self.dice.one("close", f"{self.other()}.close", f"{self.other()}.close",
                             f"{self.other()}.handle_close", "h1.close")

    def wild_call(self, actor):
        if self.dice.chance(40):
            return self.call("", actor, self.dice.one(*actor.methods()))
        member = self.dice.one(*self.cast)
        actor = self.actor_of(member)
        return self.call(member.name + ".", actor, self.dice.one(*actor.methods()))

    def wild_raw(self, actor):
        return "; ".join(self.dice.one(*self.cast).raw_action())

    def wild_pass(self, actor):
        return self.some_pass()

    def wild_dial(self, actor):
        member = self.dice.one(*self.cast)
        if member.kind not in STREAMS:
            return self.wild_raw(actor)
        return f"dial {member.peer} " + self.dice.one(member.name, member.listener)

    def wild_new(self, actor):
        dice = self.dice
        member = dice.one(*self.cast)
        where = dice.weighted((4, ""), (1, " in 1"))
        if member.is_file or (member.kind in SOCKETS and dice.chance(50)):
            leaf = self.leaf_file if member.kind in FILES else self.leaf
            name = "y1" if leaf is self.leaf_file else "x1"
            # Two channels of one open file would share O_NONBLOCK.
            once = f"; {member.peer}.close" if member.is_file else ""
            return f"adopt {name} {leaf.name} {member.peer}{where}{once}"
        if member.kind in STREAMS and dice.chance(60):
            target = dice.one(member.name, member.listener, NOBODY[member.kind])
            # Maybe on a descriptor that has just become free.
            reuse = f"{self.other()}.close; " if dice.chance(40) else ""
            return (f"{reuse}new x1 {self.leaf.name}{where}; x1.create {member.kind}; "
                    f"x1.connect {target}")
        return f"new x2 {self.leaf.name}{where}; x2.create " + dice.one(*STREAMS, *DATAGRAMS)

    def wild_again(self, actor):
        return "; ".join(self.dice.one(*self.cast).again())

    def wild_small(self, actor):
        """On itself."""
        dice = self.dice
        if actor.is_chat and dice.chance(60):
            return self.chat_action()
        actions = ["put 20", "repr", "state", "ignore", "ignore warning info", "send 10",
                   "recv 10", "recv 1", "recv 0", 'log "wild"', 'log_info "wild" ' + dice.one(
                       "info", "warning", "error"), "set debug 1", "set closing 1", "map",
                   "send 0"]
        if not actor.is_file:
            actions += ["shutdown w", "shutdown rw", "socket_recv 3 peek", "accept q3", "bind",
                        "listen", "set_reuse_addr", 'socket_send "raw"']
        return dice.one(*actions)

    def wild_global(self, actor):
        return self.global_call(self.other())

    def wild_member(self, actor):
        return "; ".join(self.member_action(self.dice.one(*self.cast)))

    def wild_condition(self, actor):
        dice = self.dice
        condition = dice.one("it", "connected", "connecting", "accepting", "closing", "buffer")
        action = dice.one("close", "recv 10", "send 5", "raise EPIPE", "set closing 1",
                          f"{self.other()}.close", "del_channel", "repr")
        return f"{dice.one('if', 'unless')} {condition} {action}"

    # Steps

    def actor_of(self, member):
        return next(actor for actor in self.actors if actor.name == member.cls)

    def call(self, prefix, actor, method):
        """A direct call, with arguments."""
        dice = self.dice
        if method == "send":
            return f"{prefix}send " + dice.one("0", "3", "100", '"direct"', "buffer")
        if method == "recv":
            return f"{prefix}recv " + dice.one("0", "1", "10", "8192")
        if method == "log":
            return f'{prefix}log "direct"'
        if method == "log_info":
            return f'{prefix}log_info "direct"' + dice.one("", " info", " warning", " error")
        if method == "handle_accepted":
            return f"{prefix}handle_accept"  # it has a socket to give
        if method == "collect_incoming_data":
            return f'{prefix}collect_incoming_data "direct"'
        if method == "handle_error":
            return f"{prefix}handle_error {dice.one(*ERRORS)}"
        if method == "handle_write" and (actor.with_send or actor.is_chat) and dice.chance(50):
            return f"{prefix}initiate_send"
        return prefix + method

    def some_pass(self):
        dice = self.dice
        if dice.chance(5):
            return a_pass(dice, dice.one("", " in 1", " in 2"))
        return a_pass(dice, dice.one(*self.cast).where)

    def global_call(self, name):
        dice = self.dice
        flags = " ".join(dice.some(FLAGS, dice.number(0, 3)))
        return dice.weighted((3, f"read {name}"), (3, f"write {name}"), (3, f"exception {name}"),
                             (5, f"readwrite {name} {flags}".rstrip()), (1, "map"),
                             (1, "close_all"), (1, "close_all ignore_all"),
                             (1, "close_all ignore_all in 1"))

    def member_action(self, member):
        """Something that is done to a channel of the cast."""
        dice = self.dice
        name = member.name
        actions = [(3, [f"{name}.send {member.size()}"]), (2, [f"{name}.recv 10"]),
                   (2, [f"{name}.put {member.size()}"]), (2, [f"{name}.close"]),
                   (2, [f"{name}.del_channel", f"{name}.add_channel"]),
                   (1, [f"{name}.del_channel", f"{name}.add_channel in {dice.number(0, 2)}"]),
                   (1, [f"{name}.del_channel"]), (1, [f"{name}.add_channel{member.where}"]),
                   (1, [f"{name}.repr"]), (1, [f"{name}.state"]), (1, [f"{name}.set debug 1"]),
                   (1, [f"{name}.ignore"]), (1, [f"{name}.ignore info error"]),
                   (1, [f"{name}.set " + dice.one("connected", "connecting", "closing",
                                                  "accepting") + dice.one(" 0", " 1")]),
                   (2, member.again())]
        if not member.is_file:
            actions += self.socket_actions(member)
        if member.kind in ("unix", "socketpair", "pipe"):
            actions.append((6, self.filling(member)))
        if self.actor_of(member).is_chat:
            actions.append((30, [f"{name}.{self.chat_action()}"]))
        return dice.weighted(*actions)

    def socket_actions(self, member):
        dice = self.dice
        name = member.name
        actions = [(2, [f"{name}.shutdown " + dice.one("r", "w", "rw")]),
                   (1, [f"{name}.socket_recv 3" + dice.one("", " peek", " oob")]),
                   (1, [f"{name}.socket_send 3"]), (1, [f"{name}.set_reuse_addr"]),
                   (1, [f"{name}.bind"]), (1, [f"{name}.listen"]), (1, [f"{name}.accept q4"])]
        if member.kind == "none":
            return actions
        actions.append((1, [f"{name}.connect " + dice.one(NOBODY[member.kind], name)]))
        actions.append((1, member.set_socket()))
        if member.kind == "udp":
            actions += [(2, [f"{name}.sendto 5 " + dice.one("nobody", member.peer)]),
                        (2, [f"{name}.recvfrom 10"])]
        if member.kind == "dgram":
            actions.append((2, [f"{name}.sendto 5 nobody_unix"]))
        if member.kind in STREAMS:
            other = dice.one(*(other for other in self.cast if other.kind == member.kind))
            actions += [(2, [f"{name}.connect " + dice.one(other.name, other.listener)])]
        if member.kind in ("tcp", "tcp6"):
            actions.append((1, [f"{name}.socket_send 1 oob"]))
        return actions

    def filling(self, member):
        """More than the other side takes."""
        dice = self.dice
        if member.is_file and member.kind != "pipe":
            return [f"{member.own}.buffers 4000", f"{member.name}.send 3000"]
        verb = "push" if self.actor_of(member).is_chat and dice.chance(80) else "send"
        steps = [f"{member.name}.{verb} " + dice.one("70000", "20000", "lorem")]
        if member.kind != "pipe":
            steps.insert(0, f"{dice.one(member.name, member.name, member.peer)}.buffers "
                         + dice.one("2000", "8000"))
        if dice.chance(50):
            steps += [self.some_pass(), f"{member.peer}.drain"]
        return steps

    def happen(self):
        """Something happens, and mostly a pass follows."""
        dice = self.dice
        member = dice.one(*self.cast)
        actor = self.actor_of(member)
        idle = member.phase in ("unconnected", "closed") or member.kind == "none"
        steps = dice.weighted(
            (5 if idle else 0.3, member.again), (5, lambda: self.peer_action(member)),
            (2, lambda: self.member_action(member)),
            (2, lambda: [self.call(member.name + ".", actor, dice.one(*actor.methods()))]),
            (1, lambda: [self.global_call(member.name)]),
            (1, lambda: self.wild_new(None).split("; ")),
            (2, lambda: []))()
        self.add_steps(*steps)
        if dice.chance(1.5):
            self.add_exhaustion(member)
        elif dice.chance(80):
            timed = "timed 0.5 " if dice.chance(2) else ""
            self.add_steps(timed + (a_pass(dice, member.where) if dice.chance(80)
                                    else self.some_pass()))

    def peer_action(self, member):
        if self.actor_of(member).is_chat and member.kind != "none" \
                and member.phase != "listening" and self.dice.chance(60):
            return self.chat_input(member.peer, member.where)
        return member.raw_action()

    def add_exhaustion(self, member):
        """A pass without descriptors."""
        dice = self.dice
        if member.phase == "listening":
            self.add_steps(f"dial {member.peer} {member.name}")
        self.add_steps(a_pass(dice, member.where), "exhaust",
                       dice.one(f"{member.name}.create", "map", f"dial q5 {member.listener}"),
                       a_pass(dice, member.where), "relent")

    def reach(self, member):
        more = [f"{member.name}.set debug 1"] if self.dice.chance(6) else []
        if self.actor_of(member).is_chat and self.dice.chance(85):
            more.append(f"{member.name}.set_terminator {self.terminator()}")
        return member.reach() + more

    def wander(self):
        """Brings the channels to their phases, with passes in between."""
        for member in self.cast:
            self.add_steps(*self.reach(member))
            if self.dice.chance(50):
                self.add_steps(self.some_pass())

    def turn(self):
        return self.seed // len(REACHABLE)

    def focused(self):
        """The methods that come first: they go with the seed."""
        methods = scenario.METHODS
        return [methods[(self.turn() // 3 + offset) % len(methods)] for offset in (0, 7)]

    def focus(self):
        """Brings the channels to their phases, and calls methods of the first one right then, from
        outside or in the loop of another channel: which comes first goes with the seed, so that
        seeds in a row try everything."""
        dice = self.dice
        target = self.cast[0]
        for member in self.cast[1:]:
            self.add_steps(*self.reach(member))
            if dice.chance(30):
                self.add_steps(a_pass(dice, member.where))
        turn = self.turn()
        actor = self.actor_of(target)
        first = [method for method in self.focused() if method in actor.methods()]
        for method in ("handle_accepted", *NEEDED):
            if method in first:
                actor.cls.methods.setdefault(method, {})
        methods = dice.some((*actor.methods(), *SELDOM), dice.number(3, 6))
        if actor.is_chat:
            methods = dice.some((*methods, *NEEDED), len(methods) + len(NEEDED))
        methods = [*first, *methods]
        calls = [self.call(target.name + ".", actor, method) for method in methods]
        if turn % 3:
            self.call_in_loop(target, calls, MODES[turn % 3 - 1])
        else:
            self.add_steps(*self.reach(target), *calls)

    def call_in_loop(self, target, calls, mode):
        dice = self.dice
        driver = self.add_actor(dice.one("dispatcher", "dispatcher_with_send"))
        method = dice.one("readable", "writable", "handle_write", "handle_read")
        where = dice.weighted((5, " in 2"), (1, target.where))
        if dice.chance(20):
            calls.insert(dice.number(0, len(calls)),
                         a_pass(dice, dice.one(where, target.where), MODES[mode == MODES[0]]))
        body = "; ".join(("try " if dice.chance(85) else "") + call for call in calls)
        driver.set(method, 1, body + ("; return 1" if method == "readable" else ""))
        if method == "handle_read":
            driver.set(method, 2, "recv 10")
        ready = ["socketpair b1 b2", f"adopt d {driver.name} b1{where}", "b2.send 3"]
        reach = self.reach(target)
        if dice.chance(50):
            self.add_steps(*ready, *reach)
        else:
            self.add_steps(*reach, *ready)
        self.add_steps(a_pass(dice, where, mode))
        if dice.chance(70):
            self.add_steps("d.close")


def generate(seed):
    return Writer(seed).write()


def seeds_of(text):
    first, dots, last = text.partition("..")
    if not dots or not first.isdigit() or not last.isdigit() or int(last) < int(first):
        raise argparse.ArgumentTypeError("A..B expected")
    return range(int(first), int(last) + 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    seeds = parser.add_mutually_exclusive_group(required=True)
    seeds.add_argument("--seed", type=lambda text: [int(text)], dest="seeds", metavar="N")
    seeds.add_argument("--seeds", type=seeds_of, metavar="A..B")
    parser.add_argument("--coverage", action="store_true",
                        help="run them in oracle.py, and print which states the methods met")
    options = parser.parse_args()
    if options.coverage:
        import coverage  # only this needs asyncore
        return coverage.report(options.seeds)
    for seed in options.seeds:
        sys.stdout.write(generate(seed).text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
