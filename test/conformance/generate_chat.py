"""What random scenarios do with async_chats: terminators, input that is cut anywhere, output of all
kinds.
"""

import scenario
from cast import PATTERN, a_pass

LONG = (PATTERN * 5)[:300]
TERMINATORS = ("\r\n", "\r\n", "\n", ";", "aab", "\r\n.\r\n", "abab!", "aabaaac", "\0\xff\0", LONG,
               1, 2, 3, 5, 10, 100, 0, None)
PARTS = ("x", "line", "some words", "a", "ab", "aa", "baaac", "\r", ".", "\n", "\0", "\xff",
         "0123456789")

# What methods do at every call, as in generate.py, for a class of async_chat; {T} is a terminator,
# {P} a class of producers.
EVERY = {
    "readable": ((6, "super"), (1, "return 1"), (1, "return connected")),
    "writable": ((6, "super"), (1, "return 1"), (1, "return 0")),
    "handle_read": ((9, "super"), (1, "super; state"), (0.5, "recv 3"), (0.5, "super; close"),
                    (0.3, "")),
    "handle_write": ((6, "super"), (1, "push 3; super"), (2, "initiate_send"), (0.3, "")),
    "handle_connect": ((3, "push \"hello\""), (1, "super"), (1, "push_with_producer {P}"),
                       (1, "push 5; close_when_done")),
    "handle_close": ((6, "close"), (4, "super"), (1, "log \"gone\"; close"), (1, "push 3; close"),
                     (1, "")),
    "collect_incoming_data": ((5, ""), (5, "collect it"), (2, "push it"), (1, "get_terminator"),
                              (1, "collect it; push 3"), (0.7, "set_terminator {T}"),
                              (0.2, "close"), (0.2, "discard_buffers"), (0.3, "super")),
    "found_terminator": ((3, ""), (4, "get_data; push it"), (2, "get_data"),
                         (4, "set_terminator {T}"), (1, "get_terminator"),
                         (1, "push \"ok\"; push 5"), (1, "push_with_producer {P}; push 5"),
                         (1, "push_simple 20 7"), (0.7, "push 5; close_when_done"),
                         (0.4, "close"), (0.4, "discard_buffers"), (0.3, "super")),
}

# On any channel of the class, from anywhere.
ACTIONS = (
    (5, "push {N}"), (1, "push \"\""), (2, "push_reference {N}"), (2, "push_simple {N} 7"),
    (1, "push_simple {N}"), (4, "push_with_producer {P}"), (2, "close_when_done"),
    (1.5, "discard_buffers"), (2, "initiate_send"), (4, "set_terminator {T}"),
    (1, "get_terminator"), (1, "collect \"kept\""), (1, "get_data"), (1, "writable"),
    (1, "ac_in_buffer_size {S}"), (1.5, "ac_out_buffer_size {S}"), (1, "found_terminator"),
    (1, "collect_incoming_data \"direct\""), (1, "handle_read"), (1, "handle_write"),
)
# On one with any output.
OUTPUT = ((4, "push {N}"), (1, "push \"\""), (3, "push_reference {N}"), (2, "push_simple {N} 7"),
          (1, "push_simple {N}"), (4, "push_with_producer {P}"), (2, "close_when_done"))
USES = ((4, "initiate_send"), (3, "handle_write"), (3, "discard_buffers"), (2, "send 5"),
        (2, "close"), (1, "handle_close"), (1, "shutdown w"), (1, "socket_send 3"),
        (1, "ac_out_buffer_size {S}"), (1, "writable"), (0.5, "set connected 0"),
        (0.5, "add_channel in 1"))
SIZES = (0, 1, 2, 3, 7, 64, 1000)


def quoted(text):
    """As a token of the language."""
    plain = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(plain.get(char)
                         or (char if " " <= char < "\x7f" else f"\\x{ord(char):02x}")
                         for char in text) + '"'


def word_of(terminator):
    """As set_terminator's word."""
    if terminator is None:
        return "none"
    return str(terminator) if isinstance(terminator, int) else quoted(terminator)


class ChatWriter:
    """The part of generate.Writer that writes about async_chats."""

    def begin_chat(self):
        self.terminators = self.dice.some(TERMINATORS, self.dice.number(1, 3))
        self.producers = []

    def fill_in(self, text):
        """Puts words into a template."""
        dice = self.dice
        while "{" in text:
            for key, make in (("{T}", self.terminator), ("{P}", self.producer),
                              ("{N}", self.amount), ("{S}", lambda: str(dice.one(*SIZES)))):
                if key in text:
                    text = text.replace(key, make(), 1)
        return text

    def terminator(self):
        return word_of(self.dice.one(*self.terminators))

    def amount(self):
        return self.dice.one("1", "3", "10", "100", "600", '"text\\n"', "buffer")

    # Producers

    def producer(self):
        """The name of a class of producers."""
        if len(self.producers) < 2:
            self.producers.append(self.new_producer())
        return self.dice.one(*self.producers)

    def new_producer(self):
        dice = self.dice
        cls = scenario.Class(f"m{len(self.producers) + 1}", "producer")
        calls = cls.methods.setdefault("more", {})
        for number in range(1, 1 + dice.number(0, 4)):
            body = dice.weighted((8, f"give {dice.one(1, 3, 10, 100, 1000)}"),
                                 (1, 'give "text"; give 5'), (1, "give 600"),
                                 (0.7, ""), (0.7, f"raise {dice.one('EIO', 'EPIPE', 'EAGAIN')}"),
                                 (1, "WILD"))
            if body == "WILD":
                body = dice.one("close", "discard_buffers", "push 5", "get_terminator",
                                "handle_close", "push_simple 9 4", "close_when_done", "exit",
                                "set_terminator 3",
                                *("; ".join(dice.one(*self.cast).raw_action()) for _ in range(2)))
                body += dice.one("", "; give 7")
            calls[number] = scenario.actions_of(body)
        self.plan.classes[cls.name] = cls
        return cls.name

    # Classes

    def chat_every(self, method):
        return self.fill_in(self.dice.weighted(*EVERY[method]))

    def write_chat_sizes(self, actor):
        for size in scenario.SIZES:
            if self.dice.chance(20):
                actor.cls.sizes[size] = self.dice.one(*SIZES)

    # Actions

    def chat_action(self):
        return self.fill_in(self.dice.weighted(*ACTIONS))

    def chat_call(self, method):
        return {"collect_incoming_data": 'collect_incoming_data "called"'}.get(method, method)

    # Input

    def chat_text(self):
        """Terminators, parts of them, and other things."""
        dice = self.dice
        parts = []
        for _ in range(dice.weighted((3, 1), (3, 2), (2, 4), (1, 8))):
            terminator = dice.one(*self.terminators)
            if isinstance(terminator, str) and dice.chance(60):
                cut = dice.number(0, len(terminator))
                parts.append(dice.weighted((4, terminator), (1, terminator[:cut]),
                                           (1, terminator[cut:])))
            else:
                parts.append(dice.one(*PARTS))
        return "".join(parts)

    def chat_input(self, peer, where):
        """The steps of a peer that sends it, cut anywhere, with passes in between."""
        dice = self.dice
        text = self.chat_text()
        cuts = sorted(dice.number(0, len(text))
                      for _ in range(dice.weighted((4, 0), (3, 1), (2, 3))))
        steps = []
        for start, end in zip([0, *cuts], [*cuts, len(text)]):
            if start < end:
                steps.append(f"{peer}.send {quoted(text[start:end])}")
                if dice.chance(70):
                    steps.append(a_pass(dice, where))
        return steps

    # A scene

    def add_chat(self):
        """A conversation: of a class that does what one expects, but for some calls."""
        dice = self.dice
        actor = self.add_actor("async_chat")
        self.write_chat_sizes(actor)
        for method in ("collect_incoming_data", "found_terminator"):
            actor.set(method, scenario.EVERY_CALL, self.chat_every(method))
            for number in range(1, 6):
                if dice.chance(15):
                    actor.set(method, number, self.chat_wild(actor, method))
        for method in ("handle_close", "handle_error", "handle_write", "handle_read", "writable"):
            if dice.chance(25):
                actor.cls.methods[method] = {}
        if dice.chance(30):
            actor.set("send", scenario.EVERY_CALL,
                      dice.one("super", "super", "return 0", "log \"\"; super"))
        if dice.chance(20):
            actor.set("handle_error", scenario.EVERY_CALL, "get_terminator")
        kind = dice.weighted((6, "tcp"), (3, "unix"), (3, "socketpair"), (1, "udp"))
        where = dice.one("", " in 1")
        self.add_steps(f"{kind} z1 z2", f"adopt z {actor.name} z1{where}")
        if dice.chance(85):
            self.add_steps(f"z.set_terminator {self.terminator()}")
        if kind in ("unix", "socketpair") and dice.chance(30):
            self.add_steps("z.buffers 4000", "z.push 20000")
        for _ in range(dice.number(2, 6)):
            self.add_steps(*dice.weighted(
                (8, lambda: self.chat_input("z2", where)),
                (3, lambda: ["z." + self.chat_action()]), (1, lambda: ["z2.drain"]),
                (0.4, lambda: [dice.one("z2.close", "z2.shutdown w", "z2.reset", "z.close")]),
                (0.4, lambda: ["z.close", f"{kind} z1 z2", "z.set_socket z1",
                               "z.set connected 1"]))())
            if dice.chance(60):
                self.add_steps(a_pass(dice, where))

    def add_output(self):
        """What is pushed, asked for and dropped, in each state of the output, in a handler of
        another channel and elsewhere."""
        dice = self.dice
        actor = self.add_actor("async_chat")
        self.write_chat_sizes(actor)
        actor.set("readable", scenario.EVERY_CALL, dice.one("super", "return 0"))
        for method in ("handle_close", "handle_error", "handle_write", "writable"):
            if dice.chance(25):
                actor.cls.methods[method] = {}
        if dice.chance(50):
            actor.set("send", scenario.EVERY_CALL, dice.weighted((8, "super"), (1, "return 0")))
        self.add_steps(dice.weighted(
            (4, "tcp z1 z2"), (3, "unix z1 z2"), (2, "udp z1 z2"), (2, "socketpair z1 z2 dgram")),
            f"adopt z {actor.name} z1")
        queue = [self.fill_in(dice.weighted(*OUTPUT)) for _ in range(dice.number(0, 3))]
        if dice.chance(20):
            queue.insert(0, "close_when_done")
        if queue or dice.chance(50):
            self.add_steps("z.set connected 0", *(f"z.{action}" for action in queue))
            if dice.chance(80):
                self.add_steps("z.set connected 1")
        actions = [f"z.{self.fill_in(dice.weighted(*OUTPUT, *USES))}"
                   for _ in range(dice.number(1, 5))]
        if dice.chance(20):
            actions.insert(dice.number(0, len(actions)), dice.one("z2.drain", "z2.close", "poll 0",
                                                                  "loop 0 poll 2", "raise EIO"))
        if dice.chance(60):
            driver = self.add_actor(dice.one("dispatcher", "dispatcher_with_send"))
            driver.set("handle_read", 1, "recv 10; " + "; ".join(
                ("try " if dice.chance(50) else "") + action for action in actions))
            driver.set("handle_read", scenario.EVERY_CALL, "recv 10")
            self.add_steps("socketpair w1 w2", f"adopt w {driver.name} w1", "w2.send 1",
                           a_pass(dice, ""))
        else:
            self.add_steps(*(action for action in actions if not action.startswith("raise")))
        for _ in range(dice.number(1, 4)):
            self.add_steps(dice.one("z2.drain", "z2.recv 100", "z.state"), a_pass(dice, ""))

    def chat_wild(self, actor, method):
        dice = self.dice
        actions = [dice.weighted(
            (6, self.chat_action),
            (2, lambda: f"raise {dice.one('EIO', 'EAGAIN', 'EPIPE', 'ENOMEM')}"),
            (2, lambda: a_pass(dice, dice.one("", " in 1"))),
            (2, lambda: "; ".join(self.chat_input("z2", dice.one("", " in 1")))),
            (1, lambda: dice.one("close", "handle_read", "exit", "z2.close", "z2.shutdown w",
                                 "z2.drain", "add_channel in 2", "set connected 0", "read z",
                                 "write z", "send 5")))()
            for _ in range(dice.weighted((5, 1), (2, 2)))]
        if dice.chance(60):
            actions.insert(dice.number(0, 1), self.chat_every(method))
        return "; ".join(action for action in actions if action)
