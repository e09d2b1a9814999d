"""What the records of a visit say: measured beside expected, beside llama.cpp, and what the cost model should learn. Pure."""

from measure import spread
from report import number, table, with_spread

# A line of the suite that one constant of the cost model decides, and how: `times` means that the constant is multiplied by
# measured/forecast; `seconds a layer` that the difference of a pass is added to it, divided by the layers.
CORRECTIONS = (
    ("resident: decode", "kDeviceEfficiency (plan/cost_model.h)", 0.9, "times"),
    ("resident: prompt", "multiplication_share (hardware/gpus.toml)", 0.22, "times"),
    ("experts, slots off: decode", "kSecondsPerDetour (plan/cost_model.h)", 0.3e-3, "seconds a layer"),
)
LANES = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9}  # bytes/s, as in hardware/gpus.toml


class Line:
    """One kind of work: all that was expected and measured of it."""

    def __init__(self, expected):
        self.name, self.expected, self.brimful, self.peers = expected["line"], expected, [], {}

    @property
    def best_peer(self):
        """The name of llama.cpp's fastest setting, and the spread of its runs."""
        spreads = {setting: spread(rates) for setting, rates in self.peers.items()}
        best = max((name for name, s in spreads.items() if s), key=lambda name: spreads[name]["median"], default=None)
        return best, spreads.get(best)


def lines_of(records):
    """By name. What was not expected, such as the runs for the checks, is no line."""
    lines = {}
    for record in records:
        if record["kind"] == "expected":
            lines[record["line"]] = Line(record)
        if record["kind"] != "run":
            continue
        for figure, rate in record["figures"].items():
            own = record["side"] == "brimful"
            # llama.cpp has no variants: it stands beside each of Brimful's.
            for line in [line for name, line in lines.items() if name == f"{record['work']}: {figure}" or not own and
                         name.endswith(f": {figure}") and line.expected["work"] == record["work"]]:
                (line.brimful if own else line.peers.setdefault(record["setting"], [])).append(rate)
    return lines


def ratio(a, b):
    return a / b if a and b else None


def line_cells(line):
    own, (setting, peer) = spread(line.brimful), line.best_peer
    median = own and own["median"]
    return [line.name, number(line.expected.get("written_down")), number(line.expected.get("forecast")), with_spread(own),
            number(ratio(median, line.expected.get("written_down") or line.expected.get("forecast"))),
            with_spread(peer), setting or "-", number(ratio(median, peer and peer["median"])), number(line.expected.get("ratio"))]


def milliseconds_a_layer(line):
    own, (_, peer), layers = spread(line.brimful), line.best_peer, line.expected.get("layers")
    if not line.expected.get("by_layer") or not line.name.endswith(": decode"):
        return None
    return [line.name] + [number(s and 1000 / s["median"] / layers, 3) for s in (own, peer)] + \
           [number(ratio(1000 / layers, line.expected.get("forecast")), 3)]


def link_correction(card, link):
    generation, width = card.get("pcie_generation"), card.get("pcie_width")
    if not link or generation not in LANES or not width:
        return []
    return [["link_share (hardware/gpus.toml)", "0.8", f"{link / (LANES[generation] * width):.2f}",
             f"copies from RAM {link / 1e9:.1f} GB/s, PCIe {generation}.0 x{width}"]]


def driver_correction(records):
    held = [device["runtime"] / 2**20 for record in records if record["kind"] == "run"
            for device in (record.get("stats") or {}).get("device_bytes", {}).values() if device.get("runtime")]
    if not held:
        return []
    return [["runtime (hardware/gpus.toml), MiB", "500", f"{spread(held)['median']:.0f}", f"{min(held):.0f} to {max(held):.0f} MiB"]]


def corrections(records, lines):
    """Rows: the constant, its value, what the visit says, from what."""
    machine = next((record["profile"] for record in reversed(records) if record["kind"] == "machine"), None)
    card = (machine or {}).get("gpus", [{}])[:1]
    rows = link_correction(card[0], card[0].get("host_to_device_bytes_per_s")) if card else []
    rows += driver_correction(records)
    for name, constant, value, how in CORRECTIONS:
        line = lines.get(name)
        own = spread(line.brimful) if line else None
        forecast = line and line.expected.get("forecast")
        if not own or not forecast:
            continue
        if how == "times":
            learnt = value * own["median"] / forecast
        else:
            learnt = value + (1 / own["median"] - 1 / forecast) / line.expected["layers"]
        rows.append([constant, f"{value:g}", f"{learnt:.2g}", f"{name}: {own['median']:.2f}, forecast {forecast:.2f}"])
    return rows


def summary(records):
    """Markdown."""
    lines = lines_of(records)
    parts = ["# Visit to a machine with a GPU", ""]
    facts = [[record["name"], str(record["value"])] for record in records if record["kind"] == "fact"]
    if facts:
        parts += [table(["fact", "value"], facts), ""]
    checks = [[record["line"], str(record["expected"]), str(record["measured"]), "ok" if record["ok"] else "**no**"]
              for record in records if record["kind"] == "check"]
    if checks:
        parts += ["## Checks", "", table(["check", "expected", "measured", ""], checks), ""]
    if lines:
        parts += ["## Rates, tokens/s", "", "Medians (min..max). `measured by expected` is by what was written down before, where there is a figure, else by "
                  "the forecast that `brimful plan` made there before the measurement.", "",
                  table(["work", "written down", "forecast there", "Brimful", "measured by expected", "llama.cpp", "its best", "ratio",
                         "ratio expected"], [line_cells(line) for line in lines.values()]), ""]
    layers = [cells for cells in map(milliseconds_a_layer, lines.values()) if cells]
    if layers:
        parts += ["## Milliseconds a layer, decode", "", table(["work", "Brimful", "llama.cpp", "forecast"], layers), ""]
    learnt = corrections(records, lines)
    if learnt:
        parts += ["## Corrections for the cost model", "", table(["constant", "now", "by this visit", "from"], learnt), ""]
    failures = [[f"call {record['call']}", record["work"], record["side"], record["failure"]] for record in records
                if record["kind"] in ("run", "left out") and record.get("failure")]
    if failures:
        parts += ["## What failed or was left out", "", table(["", "work", "side", "why"], failures), ""]
    return "\n".join(parts)
