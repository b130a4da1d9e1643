"""Scenes of random scenarios: with channels of their own, of classes that do what one expects."""

import scenario
from cast import MODES, RESERVED, a_pass


class SceneWriter:
    """The part of generate.Writer that writes them."""

    def add_plain(self, kind, name="z", where=RESERVED, super_name=None, **methods):
        dice = self.dice
        actor = self.add_actor(super_name or dice.one("dispatcher", "dispatcher_with_send"))
        methods = {"handle_read": "recv 100", "handle_close": "close", **methods}
        if "writable" not in methods and not super_name and dice.chance(50):
            methods["writable"] = "return 0"
        for method, body in methods.items():
            actor.set(method, scenario.EVERY_CALL, body)
        self.add_steps(f"{kind} {name}1 {name}2", f"adopt {name} {actor.name} {name}1{where}")
        return actor

    def add_loss(self):
        """Nothing may get a descriptor as long as the lost one's number could become its."""
        dice = self.dice
        others = dice.some(("u", "v"), dice.number(0, 2))
        for name in dice.some(("z", *others), 3):
            methods = {method: "super" for method in ("handle_expt", "handle_write")
                       if dice.chance(30)}
            self.add_plain(dice.one("tcp", "unix", "socketpair"), name, **methods)
        if dice.chance(50):
            self.add_steps(a_pass(dice, RESERVED))
        if others and dice.chance(50):
            self.add_steps(f"{others[0]}2.send 3")
        self.add_steps("z.lose")
        for _ in range(dice.number(1, 4)):
            self.add_steps(dice.weighted(
                (6, a_pass(dice, RESERVED)), (1, "z.send 3"), (1, "z.handle_read"),
                (1, "z.handle_write"), (1, "z.state"), (1, "z.recv 0"),
                *((2, f"{name}{what}") for name in others for what in (
                    "2.send 3", "2.close", ".send 3", ".close"))))
        self.add_steps("z.close")

    def add_certain(self):
        """Long waits, for what is there already, and loops that end by themselves."""
        dice = self.dice
        self.add_plain(dice.one("tcp", "unix", "socketpair"))
        mode = dice.one("select", "poll")
        long = dice.one("none", "30", "-1", "-0.5")
        self.add_steps("z2.send 10",
                       dice.one(f"loop {long} {mode} 1", f"poll {long}", f"poll2 {long}")
                       + RESERVED,
                       "z2.close", f"loop {long} {mode} none{RESERVED}")

    def add_queue(self):
        """A predicate sends what another channel has queued, or does something else to it."""
        dice = self.dice
        kind = dice.one("tcp", "unix", "socketpair")
        where = dice.one("", " in 1", RESERVED)
        traced = {method: "super" for method in ("handle_write", "writable") if dice.chance(30)}
        first = dice.chance(50)
        if first:
            self.add_sender(where)
        self.add_plain(kind, where=where, super_name="dispatcher_with_send", **traced)
        if not first:
            self.add_sender(where)
        if dice.chance(50):
            self.add_steps(a_pass(dice, where))
        if kind == "tcp" or dice.chance(50):
            self.add_steps("z.set connected 0", "z.send 20", "z.set connected 1")
        else:
            self.add_steps("z.buffers 2000", "z.send 20000")
        for _ in range(dice.number(2, 4)):
            self.add_steps(*dice.one([], ["z2.drain"], ["z2.send 3"], ["z2.close"], ["w2.send 3"]),
                           a_pass(dice, where))

    def add_sender(self, where):
        dice = self.dice
        actor = self.add_plain("socketpair", "w", where)
        body = dice.one("z.initiate_send", "try z.initiate_send", "z.send 3", "z.send 3000",
                        "z.set debug 0", "z.del_channel; z.add_channel")
        actor.set(dice.one("readable", "writable"),
                  dice.one(scenario.EVERY_CALL, 1, 2), body + "; return " + dice.one("0", "1"))

    def add_mixed(self):
        """Passes of both modes, out-of-band data, and channels that only read or only write."""
        dice = self.dice
        where = dice.one("", " in 1", RESERVED)
        methods = {"handle_expt": dice.weighted(*self.leaf.every("handle_expt")),
                   "handle_write": dice.one("super", "send 3")}
        for method in ("readable", "writable"):
            if dice.chance(60):
                methods[method] = dice.one("return 0", "return 0", "return 1", "super")
        if dice.chance(30):
            del methods["handle_expt"]
        self.add_plain(dice.one("tcp", "tcp6"), where=where, **methods)
        mode = dice.number(0, 1)
        for _ in range(dice.number(2, 5)):
            self.add_steps(*dice.weighted((3, ["z2.oob"]), (1, ["z2.send 5"]), (2, []),
                                          (1, ["z2.oob", "z2.send 5"]), (1, ["z2.drain"]),
                                          (1, ["try z.socket_recv 1 oob"])))
            self.add_steps(a_pass(dice, where, MODES[mode]))
            mode ^= dice.chance(80)
