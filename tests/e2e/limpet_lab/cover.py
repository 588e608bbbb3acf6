# SPDX-License-Identifier: Apache-2.0
"""Few rows that stand for a product: each combination of the values of any `strength` parameters is in one of them."""
import itertools
import random


def combinations(parameters, strength):
    """All that a cover has to contain: sorted tuples of (parameter, value), as indices."""
    return {combination for chosen in itertools.combinations(range(len(parameters)), strength)
            for combination in itertools.product(*([(each, value) for value in range(len(parameters[each]))]
                                                   for each in chosen))}


def contained(row, strength):
    """The combinations that one row of value indices contains."""
    return set(itertools.combinations(enumerate(row), strength))


def uncovered(rows, parameters, strength):
    """What is missing from rows of values."""
    missing = combinations(parameters, strength)
    for row in rows:
        missing -= contained([list(values).index(value) for values, value in zip(parameters, row)], strength)
    return missing


def cover(parameters, strength, candidates=24):
    """Rows of values, the same ones for the same parameters. Greedy, as AETG does it (Cohen et al. 1997): of some
    candidates, each grown around a combination that is still missing, the one that brings most."""
    draw = random.Random(1)
    missing = combinations(parameters, strength)
    rows = []
    while missing:
        ordered = sorted(missing)
        grown = [_grow(draw.choice(ordered), missing, parameters, strength, draw) for _ in range(candidates)]
        best = max(grown, key=lambda row: len(missing & contained(row, strength)))
        missing -= contained(best, strength)
        rows.append(tuple(values[index] for values, index in zip(parameters, best)))
    return rows


def _grow(seed, missing, parameters, strength, draw):
    """A row that contains the seed; the other parameters take, in random order, the value that completes most."""
    row = dict(seed)
    others = [each for each in range(len(parameters)) if each not in row]
    draw.shuffle(others)
    for each in others:
        values = list(range(len(parameters[each])))
        draw.shuffle(values)
        row[each] = max(values, key=lambda value: _completed(row, each, value, missing, strength))
    return [row[each] for each in range(len(parameters))]


def _completed(row, each, value, missing, strength):
    return sum(tuple(sorted((*some, (each, value)))) in missing
               for some in itertools.combinations(row.items(), strength - 1))
