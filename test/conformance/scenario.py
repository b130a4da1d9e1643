"""The scenario language: text to classes and steps, and back. README.md describes it."""

import errno
import os
import re
import sys

SUPERS = ("dispatcher", "dispatcher_with_send", "file_dispatcher", "async_chat", "producer")

METHODS = (
    "readable", "writable",
    "handle_read_event", "handle_write_event", "handle_expt_event", "handle_connect_event",
    "handle_read", "handle_write", "handle_expt", "handle_connect",
    "handle_accept", "handle_accepted", "handle_close", "handle_error",
    "send", "recv", "close", "log", "log_info",
    "collect_incoming_data", "found_terminator",
)
CHAT_METHODS = ("collect_incoming_data", "found_terminator")  # of async_chat only
PRODUCER_METHODS = ("more",)
SIZES = ("ac_in_buffer_size", "ac_out_buffer_size")  # that a class of async_chat can have

EVERY_CALL = 0

# The verbs and their words, as in the tables of replay/*_verbs.c. In capitals are kinds of words: those
# of _KINDS, NAME, MADE (the name of what is made), TARGET, CLASS (of channels), PRODUCER (a class
# of those), CONDITION, ERRNO, ACTION, and IN for "in N". [X] can be left out, [X]... can be several. A buffer that ends as DATA can have a SIZE.
GLOBAL = {
    "tcp": "MADE MADE", "tcp6": "MADE MADE", "unix": "MADE MADE", "udp": "MADE MADE",
    "socketpair": "MADE MADE [unix|dgram]", "pipe": "MADE MADE", "file": "MADE DATA",
    "fresh": "MADE KIND", "listener": "MADE [KIND] [SIZE]", "dial": "MADE TARGET", "keep": "MADE",
    "new": "MADE CLASS [IN]", "adopt": "MADE CLASS NAME [IN]",
    "loop": "SECONDS select|poll COUNT [IN]", "poll": "SECONDS [IN]", "poll2": "SECONDS [IN]",
    "timed": "LEAST ACTION", "map": "[IN]", "close_all": "[ignore_all] [IN]",
    "read": "NAME", "write": "NAME", "exception": "NAME", "readwrite": "NAME [POLLFLAG]...",
    "exhaust": "", "relent": "", "find_prefix_at_end": "TEXT TEXT",
}
RAW = {
    "send": "DATA", "recv": "SIZE", "drain": "", "close": "", "shutdown": "r|w|rw", "reset": "",
    "oob": "", "accept": "MADE", "buffers": "SIZE", "flags": "",
}
CHANNEL = {
    **{method: "" for method in METHODS if method != "handle_accepted"},
    "set_reuse_addr": "", "initiate_send": "", "handle_error": "[ERRNO]",
    "create": "[KIND]", "bind": "", "listen": "[SIZE]", "connect": "TARGET", "bind_host": "WORD",
    "connect_host": "WORD TARGET", "accept": "MADE", "send": "DATA", "recv": "SIZE",
    "socket_recv": "SIZE [oob|peek]", "socket_send": "DATA [oob]", "recvfrom": "SIZE",
    "sendto": "DATA TARGET", "shutdown": "r|w|rw", "buffers": "SIZE",
    "set_socket": "NAME [IN]", "set_file": "NAME", "del_channel": "", "add_channel": "[IN]",
    "lose": "", "set": "ATTRIBUTE 0|1", "ignore": "[WORD]...", "put": "DATA",
    "log": "TEXT", "log_info": "TEXT [WORD]", "repr": "", "state": "",
    "collect_incoming_data": "DATA", "collect": "DATA", "get_data": "",
    "set_terminator": "TERMINATOR", "get_terminator": "", "push": "DATA",
    "push_reference": "DATA", "push_simple": "DATA [SIZE]", "push_with_producer": "PRODUCER",
    "close_when_done": "", "discard_buffers": "", **{size: "[SIZE]" for size in SIZES},
}
CONTROLS = {
    "super": "", "return": "[NUMBER|CONDITION]", "if": "CONDITION ACTION",
    "unless": "CONDITION ACTION", "try": "ACTION", "raise": "ERRNO", "exit": "",
}
PRODUCER_CONTROLS = {"give": "DATA"}  # in a producer's methods
ATTRIBUTES = ("connected", "accepting", "connecting", "closing", "debug")
CONDITIONS = (*ATTRIBUTES, "buffer")
NOBODIES = ("nobody", "nobody6", "nobody_unix")

_KINDS = {
    "SIZE": r"\d{1,8}",
    "COUNT": r"none|-?\d{1,8}",
    "SECONDS": r"none|-?\d{1,6}(\.\d{1,9})?",
    "LEAST": r"\d{1,6}(\.\d{1,9})?",
    "KIND": "tcp|tcp6|udp|unix|dgram",
    "POLLFLAG": "POLL(IN|OUT|PRI|HUP|ERR|NVAL)",
    "ATTRIBUTE": "|".join(ATTRIBUTES),
    "TEXT": r'"(?s:.*)',
    "WORD": r'[^"].*',
    "DATA": r'"(?s:.*)|\d{1,8}|it|lorem|buffer',
    "TERMINATOR": r'"(?s:.*)|-?\d{1,8}|none',
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|;|[^\s;"]+|"')
_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|(.))")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0"}


class Mistake(Exception):
    """What is written is not a scenario."""


def text_of(token):
    """The bytes of a "quoted" token."""
    plain = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _ESCAPES.get(m[2], m[2]),
                        token[1:-1])
    return plain.encode("latin-1")


def actions_of(line):
    """The actions of a line, each a list of tokens."""
    actions = [[]]
    for token in _TOKEN.findall(line):
        if token == ";":
            actions.append([])
        elif token == '"':
            raise Mistake("a quote is not closed")
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
        self.sizes = {}  # one of SIZES: bytes

    def known_methods(self):
        """That it can override."""
        if self.super == "producer":
            return PRODUCER_METHODS
        return [method for method in METHODS
                if self.super == "async_chat" or method not in CHAT_METHODS]

    def lines(self):
        yield " ".join(["class", self.name, self.super,
                        *(f"{size}={value}" for size, value in self.sizes.items()),
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
        if len(words) < 3 or words[2] not in SUPERS or not _NAME.fullmatch(words[1]):
            raise Mistake("class NAME SUPER [METHOD...] expected: " + " ".join(words))
        if words[1] in self.classes:
            raise Mistake(f"class {words[1]} is there already")
        cls = self.classes[words[1]] = Class(words[1], words[2])
        for word in words[3:]:
            size, equals, value = word.partition("=")
            if equals:
                _check_size(cls, size, value)
                cls.sizes[size] = int(value)
            else:
                _check_method(cls, word)
                cls.methods[word] = {}
        return cls


# --- mistakes -------------------------------------------------------------------------------------


class _Names:
    """What is made in a scenario, and what is asked of it: known when all of it was read."""

    def __init__(self):
        self.line = 0
        self.raws = set()
        self.channels = set()
        self.uses = []  # (line, name, the verbs of which it has to have one)
        self.classes = []  # (line, name, whether of a producer)

    def make(self, verb, name):
        if not _NAME.fullmatch(name) or name in ("self", "sock", *NOBODIES):
            raise Mistake(f"{name} cannot be a name")
        (self.channels if verb in ("new", "adopt") else self.raws).add(name)

    def check(self, plan):
        """Yields (line, message)."""
        for line, name, of_producer in self.classes:
            if name not in plan.classes:
                yield line, "no class " + name
            elif (plan.classes[name].super == "producer") != of_producer:
                yield line, f"{name} is {'no' if of_producer else 'a'} producer"
        for line, name, verb in self.uses:
            verbs = {*(RAW if name in self.raws else ()),
                     *((*CHANNEL, *CONDITIONS) if name in self.channels else ())}
            if verbs and verb not in verbs:
                yield line, f"{name} has no {verb}"


def _check_condition(names, word):
    name, dot, attribute = word.rpartition(".")
    if attribute not in CONDITIONS and word != "it":
        raise Mistake("no condition " + word)
    if dot:
        names.uses.append((names.line, name, attribute))


def _check_word(names, verb, kind, word):
    if kind == "MADE":
        names.make(verb, word)
    elif kind in ("CLASS", "PRODUCER"):
        names.classes.append((names.line, word, kind == "PRODUCER"))
    elif kind == "CONDITION":
        _check_condition(names, word)
    elif kind == "NUMBER|CONDITION":
        if not re.fullmatch(_KINDS["SIZE"], word, re.ASCII):
            _check_condition(names, word)
    elif kind == "ERRNO":
        if not word.startswith("E") or not isinstance(getattr(errno, word, None), int):
            raise Mistake("no error " + word)
    elif (kind not in ("NAME", "TARGET")
          and not re.fullmatch(_KINDS.get(kind, kind), word, re.ASCII)):
        raise Mistake(f"{word} is not {kind}")


def _check_words(names, verb, kinds, words, inside):
    kinds = kinds.split()
    if kinds[-1:] == ["[IN]"]:
        kinds.pop()
        if words[-2:-1] == ["in"]:
            if words[-1] not in ("0", "1", "2", "3"):
                raise Mistake(f"no map {words[-1]}: 0 to 3")
            words = words[:-2]
    for kind in kinds:
        if kind == "ACTION":
            _check_action(names, words, inside)
            return
        if not words and kind[0] != "[":
            raise Mistake(kind + " is missing")
        count = len(words) if kind.endswith("...") else 1
        for word in words[:count]:
            _check_word(names, verb, kind.strip("[.]"), word)
        words = words[count:]
        if kind == kinds[-1] == "DATA" and word == "buffer" and words:
            _check_word(names, verb, "SIZE", words[0])
            words = words[1:]
    if words:
        raise Mistake("too many words: " + " ".join(words))


def _check_action(names, action, inside):
    """inside: the class of the method, or None."""
    if not action:
        raise Mistake("an action is missing")
    name, dot, verb = action[0].rpartition(".")
    if dot:
        kinds = RAW.get(verb, CHANNEL.get(verb))
    else:
        kinds = CONTROLS.get(verb, GLOBAL.get(verb, CHANNEL.get(verb)))
        if verb == "super" or verb not in CONTROLS and verb not in GLOBAL:
            kinds = kinds if inside else None
        if verb in PRODUCER_CONTROLS and inside and inside.super == "producer":
            kinds = PRODUCER_CONTROLS[verb]
    if kinds is None:
        known = verb in (*CONTROLS, *PRODUCER_CONTROLS, *GLOBAL, *RAW, *CHANNEL)
        raise Mistake(f"no verb {action[0]}" + (" here" if known else ""))
    try:
        _check_words(names, verb, kinds, action[1:], inside)
    except Mistake as mistake:
        if kinds.endswith("ACTION"):
            raise
        raise Mistake(f"{mistake} ({f'{verb} {kinds}'.rstrip()})") from None
    if dot:
        names.uses.append((names.line, name, verb))


# --- text -----------------------------------------------------------------------------------------


def _check_method(cls, method):
    if method not in cls.known_methods():
        known = method in (*METHODS, *PRODUCER_METHODS)
        raise Mistake("no method " + method + (" of " + cls.super if known else ""))


def _check_size(cls, size, value):
    if (size not in SIZES or cls.super != "async_chat" or size in cls.sizes
            or not re.fullmatch(_KINDS["SIZE"], value, re.ASCII)):
        raise Mistake(f"{size}={value}: SIZE=BYTES expected, of async_chat, once")


def _add_method(cls, line):
    head, colon, body = line.partition(":")
    words = head.split()
    if cls is None:
        raise Mistake("a line of a class, without a class: " + line)
    if not colon or not 1 <= len(words) <= 2:
        raise Mistake("METHOD [NUMBER]: ACTION; ... expected: " + line)
    _check_method(cls, words[0])
    if len(words) == 2 and not re.fullmatch(r"[1-9]\d{0,7}", words[1], re.ASCII):
        raise Mistake(f"{words[1]} is not the number of a call: 1, 2, ...")
    number = int(words[1]) if len(words) == 2 else EVERY_CALL
    calls = cls.methods.setdefault(words[0], {})
    if number in calls:
        raise Mistake(f"{head} is there already")
    calls[number] = actions_of(body)
    return calls[number]


class _Parser:
    def __init__(self, name):
        self.begin(name)

    def begin(self, name):
        self.scenario = Scenario(name)
        self.names = _Names()
        self.cls = None

    def add(self, line, words):
        if line[0].isspace():
            actions = _add_method(self.cls, line.strip())
        elif words[0] == "class":
            self.cls = self.scenario.add_class(words)
            actions = []
        else:
            actions = actions_of(line)
            self.scenario.steps += actions
        for action in actions:
            _check_action(self.names, action, self.cls if line[0].isspace() else None)

    def end(self):
        for self.names.line, message in self.names.check(self.scenario):
            raise Mistake(message)
        return [self.scenario] if self.scenario.steps else []


def parse(lines, name="scenario", path="standard input"):
    """The scenarios of the lines; each but the first begins with "scenario NAME"."""
    parser = _Parser(name)
    plans = []
    try:
        for number, line in enumerate(lines, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] == "scenario" and not line[0].isspace():
                plans += parser.end()
                parser.names.line = number
                if len(words) == 1:
                    raise Mistake("scenario NAME expected")
                parser.begin(line.split(None, 1)[1].strip())
            else:
                parser.names.line = number
                parser.add(line, words)
        return plans + parser.end()
    except Mistake as mistake:
        raise Mistake(f"{path}:{parser.names.line}: {mistake}") from None


def read(paths):
    """The scenarios of the files, or of standard input."""
    plans = [] if paths else parse(sys.stdin)
    for path in paths:
        with open(path, encoding="latin-1") as lines:
            plans += parse(lines, os.path.basename(path).removesuffix(".scn"), path)
    return plans


def is_valid(plan):
    """Whether its text is a scenario."""
    try:
        return len(parse(plan.text().split("\n"))) == 1
    except Mistake:
        return False
