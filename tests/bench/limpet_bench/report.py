# SPDX-License-Identifier: Apache-2.0
"""The tables, in Markdown."""
import statistics

from . import aims, connections, latency, memory, messages, packets

_US, _COUNT, _BYTES, _MIB = "us", "count", "B", "MiB"
_COLUMNS = [("plain", "plain forwarding"), ("limpet-tc", "Limpet, tc"), ("limpet-xdp", "Limpet, xdp"),
            ("haproxy", "haproxy 2.6")]
_TABLES = [
    ("Round trip", _COLUMNS, "plain",
     [(latency.row(payload, what), _US) for payload in (64, 1024) for what in ("median", "p99")]
     + [(latency.row(64, "median", "mosquitto"), _US)]),
    ("Messages over 200 connections", _COLUMNS, "plain",
     [(messages.RATE_CPU, _US), (messages.SATURATION, _COUNT), (messages.SATURATION_CPU, _US),
      (messages.BATCHED, _COUNT), (messages.BATCHED_CPU, _US)]),
    ("Memory of the gateway", _COLUMNS[1:], None,
     [(memory.TOTAL, _BYTES), (memory.KERNEL, _BYTES), (memory.PROCESS, _BYTES), (memory.COMPUTED, _BYTES)]
     + [(row, _BYTES) for row in memory.FILLED.values()] + [(memory.FIXED, _MIB)]),
    ("Connections set up", _COLUMNS, "plain",
     [(connections.PER_SECOND, _COUNT), (connections.CPU, _US), (connections.TIME, _US)]),
    ("Time in HOLD", _COLUMNS[1:3], None, [(row, _US) for row in connections.HOLD.values()]),
    ("Packets of spliced flows", [("bare-xdp", "bare XDP redirect")] + _COLUMNS[:3], "bare-xdp",
     [(packets.SHARED, _COUNT), (packets.OWN, _COUNT), (packets.TRAFGEN, _COUNT)]),
]


def _shown(value, unit):
    if value is None:
        return "-"
    if unit == _MIB:
        return f"{value / 2**20:.1f} MiB"
    if unit == _COUNT:
        return f"{value:,.0f}"
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"


def _line(cells):
    return "| " + " | ".join(cells) + " |\n"


def _table(title, columns, base, rows, results):
    """Medians, and in brackets the median of the ratios to `base`; empty where nothing was measured."""
    rows = [(row, unit) for row, unit in rows if results.has(row)]
    if not rows:
        return ""
    out = f"### {title}\n\n" + _line(["", *(heading for _, heading in columns)])
    out += _line(["---"] + ["---:"] * len(columns))
    notes = []
    for row, unit in rows:
        cells = []
        for name, _ in columns:
            ratio = results.ratio(row, name, base) if base and name != base else None
            cells.append(_shown(results.median(row, name), unit) + (f" ({ratio:.2f})" if ratio is not None else ""))
        out += _line([row, *cells])
        notes += [f"{row}: {text}." for text in sorted(results.notes.get(row, ()))]
    return out + "".join(f"\n{note}\n" for note in notes) + "\n"


def _verdict(aim, value):
    # Differences to an idle machine and to plain forwarding: other load beside them can turn them round.
    if value <= 0:
        return "not measurable: the machine was not quiet"
    return "met" if aim.met(value) else "**missed**"


def _aims(results):
    out = ""
    for aim in aims.AIMS:
        for contender in aim.contenders:
            value = aim.value(results, contender)
            if value is None:
                continue
            measured = f"{value:.2f}" if aim.base else f"{value:,.0f} B"
            out += _line([aim.row, dict(_COLUMNS)[contender], aim.text, measured,
                          _verdict(aim, value)])
    if not out:
        return ""
    return "### Aims\n\n" + _line(["figure", "mode", "aim", "measured", ""]) + _line(["---"] * 3 + ["---:", "---"]) + out + "\n"


def _program(lines):
    """Lines of JSON with the same keys are the rows of one table."""
    tables = {}
    for line in lines:
        tables.setdefault(tuple(line), []).append(line)
    out = "### Programs (BPF_PROG_RUN)\n\n" if tables else ""
    for keys, rows in tables.items():
        out += _line([key.replace("_", " ") for key in keys])
        out += _line(["---" if isinstance(rows[0][key], str) else "---:" for key in keys])
        out += "".join(_line([value if isinstance(value, str) else f"{value:,.0f}" for value in row.values()])
                       for row in rows) + "\n"
    return out


def _failures(results):
    if not results.failures:
        return ""
    return "### What failed\n\n" + "".join(f"- {text}\n" for text in results.failures) + "\n"


def markdown(results, programs, facts, command, sizes):
    quick = "" if sizes.rounds >= 5 else " Too few rounds for figures: this shows only that everything runs."
    beside = f" The machine's own load beside the measurement: {statistics.median(results.own_load):.2f} cores." \
        if results.own_load else ""
    out = (f"`{command}` on {facts['date']}: kernel {facts['kernel']}, {facts['cores']} cores ({facts['processor']}), "
           f"{facts['memory']}, Debian {facts['debian']}. Medians of {sizes.rounds} rounds; in brackets the median of "
           f"the ratios to the first column, each within one round.{quick}{beside}\n\n")
    out += _aims(results)
    out += "".join(_table(*table, results) for table in _TABLES)
    return out + _program(programs) + _failures(results)
