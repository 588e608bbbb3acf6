# SPDX-License-Identifier: Apache-2.0
"""What was measured, round by round, and what it says: medians, and ratios within one round."""
import collections
import statistics


class Results:
    """(row, contender) -> one value a round, in the order of the rounds."""

    def __init__(self):
        self._values = collections.defaultdict(dict)
        self.notes = collections.defaultdict(set)   # row -> remarks
        self.failures = []                          # what could not be measured, and why
        self.own_load = []                          # cores that the machine was busy with beside us, as seen

    def add(self, row, contender, number, value):
        self._values[row, contender][number] = value

    def note(self, row, text):
        self.notes[row].add(text)

    def has(self, row):
        return any(each == row for each, _ in self._values)

    def rounds(self, row, contender):
        return [value for _, value in sorted(self._values.get((row, contender), {}).items())]

    def median(self, row, contender):
        values = self.rounds(row, contender)
        return statistics.median(values) if values else None

    def ratio(self, row, contender, base):
        """The median over the rounds of contender / base, both of the same round."""
        mine, other = self._values.get((row, contender), {}), self._values.get((row, base), {})
        ratios = [mine[number] / other[number] for number in mine if other.get(number, 0) > 0]
        return statistics.median(ratios) if ratios else None

    def as_json(self):
        return {"own_load": self.own_load, "failures": self.failures,
                "values": [{"row": row, "contender": contender, "rounds": [values[key] for key in sorted(values)]}
                           for (row, contender), values in self._values.items()],
                "notes": {row: sorted(notes) for row, notes in self.notes.items()}}
