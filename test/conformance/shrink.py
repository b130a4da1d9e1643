"""Makes a scenario smaller as long as it keeps a property."""

import copy
import itertools
import time

MAX_SECONDS = 60
BATCH = 8  # scenarios that are tried at a time

MAKERS = ("new", "adopt")  # verbs that name a class
WITH_MAP = (*MAKERS, "loop", "poll", "poll2", "map", "close_all", "add_channel", "set_socket")


class Shrinker:
    """keeps(plans) says which of the scenarios have the property: a list of booleans."""

    def __init__(self, plan, keeps):
        self.plan = plan
        self.keeps = keeps
        self.end = time.monotonic() + MAX_SECONDS

    def first(self, candidates):
        """Takes the first that has the property: its number, or None."""
        numbers = itertools.count()
        while time.monotonic() < self.end:
            batch = list(itertools.islice(candidates, BATCH))
            if not batch:
                return None
            for plan, kept, number in zip(batch, self.keeps(batch), numbers):
                if kept:
                    self.plan = plan
                    return number
        return None

    def remove(self, parts_of):
        """As many as possible of its parts, at first half of them at once."""
        size = len(parts_of(self.plan))
        while size > 0:
            start = 0
            while True:
                parts = parts_of(self.plan)
                starts = range(start, len(parts), size)
                taken = self.first(without(self.plan, parts[s:s + size]) for s in starts)
                if taken is None:
                    break
                start = starts[taken]
            size //= 2

    def simplify(self):
        start = 0
        while True:
            taken = self.first(itertools.islice(simpler(self.plan), start, None))
            if taken is None:
                return
            start += taken

    def shrink(self):
        text = None
        while text != self.plan.text() and time.monotonic() < self.end:
            text = self.plan.text()
            for parts_of in LEVELS:
                self.remove(parts_of)
            self.simplify()
        return self.plan


# --- parts: what to take out, as keys of nested dictionaries -------------------------------------


def steps(plan):
    return [("steps", number) for number in range(len(plan.steps))]


def classes(plan):
    return [("class", name) for name in plan.classes]


def methods(plan):
    return [("class", name, method) for name, cls in plan.classes.items()
            for method in cls.methods]


def calls(plan):
    return [(*key, number) for key in methods(plan) for number in method_of(plan, key)]


def actions(plan):
    return [(*key, i) for key in calls(plan)
            for i in range(len(method_of(plan, key)[key[3]]))]


LEVELS = (steps, classes, methods, calls, actions)


def method_of(plan, key):
    return plan.classes[key[1]].methods[key[2]]


def without(plan, parts):
    """A copy that lacks them; a class goes with everything that makes channels of it."""
    plan = copy.deepcopy(plan)
    for key in reversed(parts):  # so that the numbers before it still hold
        if key[0] == "steps":
            del plan.steps[key[1]]
        elif len(key) == 2:
            del plan.classes[key[1]]
            for found in lists_of_actions(plan):
                found[:] = [action for action in found if not makes(action, key[1])]
        elif len(key) == 3:
            del plan.classes[key[1]].methods[key[2]]
        elif len(key) == 4:
            del method_of(plan, key)[key[3]]
        else:
            del method_of(plan, key)[key[3]][key[4]]
    return plan


def makes(action, class_name):
    return any(verb in MAKERS and class_name in action[i + 2:i + 3]
               for i, verb in enumerate(action))


def lists_of_actions(plan):
    yield plan.steps
    for cls in plan.classes.values():
        for numbered in cls.methods.values():
            yield from numbered.values()


# --- simpler actions -----------------------------------------------------------------------------


def simpler(plan):
    """Copies: one with nothing but the default map, and each with one action that is simpler."""
    if any(map(names_map, itertools.chain(*lists_of_actions(plan)))):
        smaller = copy.deepcopy(plan)
        for found in lists_of_actions(smaller):
            found[:] = [action[:-2] if names_map(action) else action for action in found]
        yield smaller
    for i, found in enumerate(lists_of_actions(plan)):
        for j, action in enumerate(found):
            for other in simpler_actions(action):
                smaller = copy.deepcopy(plan)
                next(itertools.islice(lists_of_actions(smaller), i, None))[j] = other
                yield smaller


def simpler_actions(action):
    if action[0] in ("if", "unless", "timed"):
        yield action[2:]
    elif action[0] == "try":
        yield action[1:]
    if names_map(action):
        yield action[:-2]
    if verb_of(action) in ("loop", "poll", "poll2"):
        yield from without_number(action, lambda word: word != "0" and is_number(word), "0", 1)
    yield from without_number(action, lambda word: word.isdigit() and int(word) > 1, "1", 0)


def names_map(action):
    return len(action) > 2 and action[-2] == "in" and verb_of(action) in WITH_MAP


def verb_of(action):
    """Without what it depends on."""
    while action[0] in ("if", "unless", "timed", "try"):
        action = action[1 if action[0] == "try" else 2:]
    return action[0].rpartition(".")[2]


def is_number(word):
    return word == "none" or word.replace(".", "", 1).isdigit()


def without_number(action, is_large, small, most):
    """Copies with a smaller number, of one word each; of the first "most" words only, if not 0."""
    found = [i for i, word in enumerate(action) if i > 0 and is_large(word)]
    for i in found[:most or None]:
        yield action[:i] + [small] + action[i + 1:]
