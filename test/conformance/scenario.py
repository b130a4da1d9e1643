"""The scenario language: text to classes and steps, and back. README.md describes it."""

import re

SUPERS = ("dispatcher", "dispatcher_with_send", "file_dispatcher")

METHODS = (
    "readable", "writable",
    "handle_read_event", "handle_write_event", "handle_expt_event", "handle_connect_event",
    "handle_read", "handle_write", "handle_expt", "handle_connect",
    "handle_accept", "handle_accepted", "handle_close", "handle_error",
    "send", "recv", "close", "log", "log_info",
)

EVERY_CALL = 0

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|;|[^\s;"]+')
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


class Mistake(Exception):
    """What is written is not a scenario."""


def text_of(token):
    """The bytes of a "quoted" token."""
    plain = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), token[1:-1])
    return plain.encode("latin-1")


def actions_of(line):
    """The actions of a line, each a list of tokens."""
    actions = [[]]
    for token in _TOKEN.findall(line):
        if token == ";":
            actions.append([])
        elif token.startswith("#"):
            break
        else:
            actions[-1].append(token)
    return [action for action in actions if action]


class Class:
    def __init__(self, name, super_name):
        self.name = name
        self.super = super_name
        self.methods = {}  # name: {number of the call, or EVERY_CALL: actions}; {}: only traced

    def lines(self):
        yield " ".join(["class", self.name, self.super,
                        *(method for method, calls in self.methods.items() if not calls)])
        for method, calls in self.methods.items():
            for number, actions in calls.items():
                call = f"{method} {number}" if number else method
                yield f"    {call}: " + "; ".join(map(" ".join, actions))


class Scenario:
    def __init__(self, name):
        self.name = name
        self.classes = {}
        self.steps = []

    def text(self):
        lines = [line for cls in self.classes.values() for line in cls.lines()]
        lines += [" ".join(step) for step in self.steps]
        return "\n".join([f"scenario {self.name}", *lines, ""])

    def add_class(self, words):
        if len(words) < 3 or words[2] not in SUPERS:
            raise Mistake("class NAME SUPER [METHOD...]: " + " ".join(words))
        cls = self.classes[words[1]] = Class(words[1], words[2])
        for method in words[3:]:
            _check_method(method)
            cls.methods[method] = {}
        return cls


def _check_method(method):
    if method not in METHODS:
        raise Mistake("no method " + method)


def _add_method(cls, line):
    head, colon, body = line.partition(":")
    words = head.split()
    if cls is None or not colon or not 1 <= len(words) <= 2:
        raise Mistake("METHOD [NUMBER]: ACTION; ... expected: " + line)
    _check_method(words[0])
    number = int(words[1]) if len(words) == 2 else EVERY_CALL
    cls.methods.setdefault(words[0], {})[number] = actions_of(body)


def parse(lines, name="scenario"):
    """Yields the scenarios of the lines; each but the first begins with "scenario NAME"."""
    scenario = Scenario(name)
    cls = None
    for line in lines:
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if line[0].isspace():
            _add_method(cls, line.strip())
        elif words[0] == "class":
            cls = scenario.add_class(words)
        elif words[0] == "scenario":
            if scenario.steps:
                yield scenario
            scenario, cls = Scenario(words[1]), None
        else:
            scenario.steps += actions_of(line)
    if scenario.steps:
        yield scenario
