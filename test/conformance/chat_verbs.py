"""The verbs of async_chat, and its producers."""

import asynchat

import scenario
from tracing import shown
from verbs import CHANNEL, GLOBAL, verb


class Producer:
    """Makes what a class of producers says."""

    def __init__(self, world, channel, cls):
        self.world = world
        self.channel = channel  # to which it was pushed
        self.calls = cls.methods.get("more", {})
        self.count = 0
        world.producers += 1
        self.name = f"{cls.name}#{world.producers}"

    def more(self):
        self.count += 1
        return self.world.asked(self, self.calls.get(self.count,
                                                     self.calls.get(scenario.EVERY_CALL, [])))


def take(channel, words, data):
    """The channel has got data that a verb sends."""
    channel.scenario_sent += len(data)
    if words[0] == "buffer":
        channel.scenario_buffer = channel.scenario_buffer[len(data):]


@verb(GLOBAL)
def do_find_prefix_at_end(world, frame, haystack, needle):
    return asynchat.find_prefix_at_end(scenario.text_of(haystack), scenario.text_of(needle))


@verb(CHANNEL)
def do_collect_incoming_data(world, frame, channel, *words):
    channel.collect_incoming_data(world.data(frame, channel, words))


@verb(CHANNEL)
def do_collect(world, frame, channel, *words):
    channel._collect_incoming_data(world.data(frame, channel, words))


@verb(CHANNEL)
def do_get_data(world, frame, channel):
    frame.it = channel._get_data()
    return shown(frame.it)


@verb(CHANNEL)
def do_set_terminator(world, frame, channel, word):
    if word == "none":
        channel.set_terminator(None)
    else:
        channel.set_terminator(scenario.text_of(word) if word[0] == '"' else int(word))


@verb(CHANNEL)
def do_get_terminator(world, frame, channel):
    terminator = channel.get_terminator()
    if terminator in (None, b""):
        return "none"
    return terminator if isinstance(terminator, int) else shown(terminator)


@verb(CHANNEL)
def do_push(world, frame, channel, *words):
    data = world.data(frame, channel, words)
    channel.push(data)
    take(channel, words, data)


@verb(CHANNEL)
def do_push_reference(world, frame, channel, *words):
    """In C without a copy; as one piece, which push cuts where the class has a send of its own."""
    data = world.data(frame, channel, words)
    if type(channel).send is asynchat.async_chat.send:
        channel.push(data)
    else:
        channel.producer_fifo.append(data)
        channel.initiate_send()
    take(channel, words, data)


@verb(CHANNEL)
def do_push_simple(world, frame, channel, word, size="0"):
    data = world.data(frame, channel, [word])
    sizes = [int(size)] if int(size) else []
    channel.push_with_producer(asynchat.simple_producer(data, *sizes))
    take(channel, [word], data)


@verb(CHANNEL)
def do_push_with_producer(world, frame, channel, class_name):
    channel.push_with_producer(Producer(world, channel, world.plan.classes[class_name]))


def add_size_verbs():
    def add(name):
        def set_size(world, frame, channel, size=None):
            if size is not None:
                channel.__dict__.pop(name, None)
                if int(size):
                    setattr(channel, name, int(size))
            return getattr(channel, name)
        CHANNEL[name] = set_size
    for name in scenario.SIZES:
        add(name)


add_size_verbs()
for plain in ("close_when_done", "discard_buffers"):
    CHANNEL[plain] = lambda world, frame, channel, name=plain: getattr(channel, name)()
