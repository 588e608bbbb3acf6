# SPDX-License-Identifier: Apache-2.0
"""The cells of the parity matrix: what either end can do, what the network does to them, and what must come of it."""
import itertools
import typing

from . import cover

#: with three parameters in every combination the cover has about forty cells, and contains every pair of values
STRENGTH = 3
SWITCHES = (True, False)
SEGMENTS = (1460, 1220, 536)


class Options(typing.NamedTuple):
    """What one end does (sysctls of its namespace), and the MSS that it announces."""
    timestamps: bool
    sack: bool
    window_scale: bool
    segment: int

    def __str__(self):
        switches = zip("tsw", (self.timestamps, self.sack, self.window_scale))
        return "".join(letter if on else "-" for letter, on in switches) + f" {self.segment}"

    def and_with(self, other):
        """What a plain connection between two such ends uses."""
        return (self.timestamps and other.timestamps, self.sack and other.sack,
                self.window_scale and other.window_scale)


class Cell(typing.NamedTuple):
    mode: str
    family: int
    client: Options
    broker: Options
    loss: int        # percent of the frames that leave either end
    disorder: bool   # some frames come late, some twice

    @property
    def name(self):
        network = f"loss{self.loss}" + ("+disorder" if self.disorder else "")
        return f"{self.mode}/ipv{self.family}/{self.client}/{self.broker}/{network}".replace(" ", "")

    def relays_allowed(self):
        """Reasons for which this cell may be relayed instead of spliced: none. Every difference of options is
        translated or kept from arising."""
        return ()


_PARAMETERS = (("xdp", "tc"), (4, 6), *[SWITCHES] * 3, SEGMENTS, *[SWITCHES] * 3, SEGMENTS, (0, 1, 5), (False, True))


def _cell(mode, family, *rest):
    return Cell(mode, family, Options(*rest[0:4]), Options(*rest[4:8]), *rest[8:])


def covering_cells(strength=STRENGTH):
    """Some forty cells in which all combinations of the values of any three parameters appear."""
    return _in_order(_cell(*row) for row in cover.cover(_PARAMETERS, strength))


def all_cells():
    """The product of mode, the switches of both sides, the client's MSS, loss and disorder: 2,304 cells. The broker's
    MSS and the family are dealt out evenly, so that each of their values meets each other value as often."""
    cells = []
    for indices in itertools.product(*(range(len(_PARAMETERS[each])) for each in (0, 2, 3, 4, 5, 6, 7, 8, 10, 11))):
        dealt = sum(indices)
        row = list(indices)
        row.insert(1, dealt % 2)
        row.insert(9, dealt % 3)
        cells.append(_cell(*(values[index] for values, index in zip(_PARAMETERS, row))))
    return _in_order(cells)


def _in_order(cells):
    """Cells that can share a daemon, which knows its brokers' options, stand beside each other."""
    return sorted(cells, key=lambda cell: (cell.mode, cell.broker, cell.family, cell), reverse=True)


def row_of(cell):
    """The values of a cell's parameters, for the cover's own test."""
    return (cell.mode, cell.family, *cell.client, *cell.broker, cell.loss, cell.disorder)


def check_generators():
    """What the matrix stands on; AssertionError where it does not hold."""
    cells = covering_cells()
    rows = [row_of(cell) for cell in cells]
    for strength in (1, 2, STRENGTH):
        assert not cover.uncovered(rows, _PARAMETERS, strength), f"a combination of {strength} values is missing"
    assert len(set(rows)) == len(rows), "a cell is there twice"
    assert covering_cells() == cells, "another run has other cells"
    assert any(cover.uncovered(rows[:index] + rows[index + 1:], _PARAMETERS, STRENGTH) for index in range(len(rows))), \
        "no row is needed: uncovered() finds nothing"
    everything = all_cells()
    assert len(everything) == len(set(everything)) == 2304, f"the product has {len(set(everything))} cells"
    assert not cover.uncovered(map(row_of, everything), _PARAMETERS, 2), "the product lacks a pair of values"
