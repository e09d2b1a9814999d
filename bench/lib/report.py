"""Turns measured rows into Markdown, JSON and an SVG plot."""

import json
import tempfile
from pathlib import Path
from html import escape

GB = 1e9
SIDES = (("strata", "#2a78d6"), ("llama.cpp", "#b0b0b0"))


def number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def with_spread(s, digits=2):
    return "-" if not s else f"{s['median']:.{digits}f} ({s['min']:.{digits}f}..{s['max']:.{digits}f})"


def missed(row):
    """The targets this row did not reach. Judged on medians."""
    out = []
    for what in ("ratio", "share"):
        target, value = row.get(f"{what}_at_least"), row.get(what)
        if target is not None and (value is None or value["median"] < target):
            out.append(f"{what} {number(value and value['median'])} < {target}")
    return out


def settings(row):
    peer = row["peer_settings"]
    if not peer:
        return "none survived"
    return peer["load_mode"] + (", repacked" if peer["repack"] == "on" else "")


def runs_a_side(row):
    return sum(run["program"] == "strata" for run in row["runs"])


def _table(header, lines):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [header, ["---"] * len(header), *lines])


def _verdict(row):
    notes = row["problems"] + missed(row)
    if notes:
        return "**" + "; ".join(notes) + "**"
    judged = any(row.get(f"{what}_at_least") is not None for what in ("ratio", "share"))
    return "reached" if judged else "ok"


def _decode_line(row):
    strata, peer, bandwidth = row["strata"], row["llama.cpp"], row["disk_bytes_per_second"]
    streamed, read = row.get("streamed_bytes_per_pass"), peer["disk_bytes_read"]
    return [f"{row['limit_percent']}%", str(runs_a_side(row)),
            with_spread(strata["tokens_per_second"]), with_spread(peer["tokens_per_second"]), settings(row),
            with_spread(row["ratio"]), with_spread(row.get("share")), number(row["ratio_at_least"], 1),
            number(streamed / GB if streamed is not None else None),
            number(bandwidth and bandwidth["median"] / GB),
            number(strata["peak_bytes"] and strata["peak_bytes"] / row["limit_bytes"] * 100, 1), str(strata["failcnt"]),
            number(strata["load_seconds"] and strata["load_seconds"]["median"], 1),
            number(read and read["median"] / GB, 1), _verdict(row)]


def _prompt_line(row):
    return [f"{row['limit_percent']}%", str(runs_a_side(row)), with_spread(row["strata"]["tokens_per_second"]),
            with_spread(row["llama.cpp"]["tokens_per_second"]), settings(row), with_spread(row["ratio"]),
            number(row["ratio_at_least"], 1), str(row["strata"]["failcnt"]), _verdict(row)]


def markdown(result):
    model, machine = result["model"], result["machine"]
    compute = result["compute_seconds_per_pass"]
    parts = [f"# Benchmark `{result['suite']}`", "",
             f"{model['file']} ({model['bytes'] / GB:.2f} GB), {machine['cpu']}, {machine['cores']} cores, "
             f"{machine['threads']} threads, Linux {machine['kernel']}. {result['date']}. "
             f"{'; '.join(result['versions'])}.", "",
             "Median (min..max) of interleaved runs, as many a side as the table says, each with a cold page cache, inside a "
             "memory cgroup whose limit is the given share of the model's file."
             + (f" Compute time of a pass, all resident: {compute:.3f} s." if compute else ""), ""]
    for kind, title, header, line in (
            ("decode", "## Decode",
             ["limit", "runs", "strata tok/s", "llama.cpp tok/s", "its load mode", "ratio", "share of the limit",
              "ratio wanted", "streamed GB/pass", "disk GB/s", "strata peak %", "failcnt", "load s",
              "llama.cpp read GB", "verdict"], _decode_line),
            ("prompt", "## Prompt",
             ["limit", "runs", "strata tok/s", "llama.cpp tok/s", "its load mode", "ratio", "ratio wanted", "failcnt",
              "verdict"], _prompt_line)):
        rows = [row for row in result["rows"] if row["kind"] == kind]
        if rows:
            parts += [title, "", _table(header, [line(row) for row in rows]), ""]
    return "\n".join(parts)


def svg(result):
    """Grouped bars, one panel a kind: height is tokens/s, the line on top the spread, the figure above both the ratio."""
    panel_width, height, top, base = 420, 300, 60, 250
    kinds = [kind for kind in ("decode", "prompt") if any(row["kind"] == kind for row in result["rows"])]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {panel_width * len(kinds)} {height}" '
           'font-family="sans-serif" font-size="12" text-anchor="middle">',
           '<rect width="100%" height="100%" fill="white"/>']
    for panel, kind in enumerate(kinds):
        rows = [row for row in result["rows"] if row["kind"] == kind]
        left = panel * panel_width
        rates = [row[side]["tokens_per_second"] for row in rows for side, _ in SIDES]
        peak = max((rate["max"] for rate in rates if rate), default=1)
        out.append(f'<text x="{left + panel_width / 2}" y="20" font-size="14">{kind}, tokens/s by memory limit</text>')
        out.append(f'<path d="M{left + 20} {base}H{left + panel_width - 20}" stroke="black"/>')
        slot = (panel_width - 40) / len(rows)
        bar = min(slot / 3, 40)
        for i, row in enumerate(rows):
            middle = left + 20 + slot * (i + 0.5)
            tallest = 0
            for j, (side, colour) in enumerate(SIDES):
                rate = row[side]["tokens_per_second"]
                if not rate:
                    continue
                x = middle + (j - 1) * bar
                y = {key: (base - top) * value / peak for key, value in rate.items()}
                tallest = max(tallest, y["max"])
                out.append(f'<rect x="{x:.1f}" y="{base - y["median"]:.1f}" width="{bar - 2:.1f}" '
                           f'height="{y["median"]:.1f}" fill="{colour}"/>')
                centre = x + bar / 2 - 1
                out.append(f'<path d="M{centre:.1f} {base - y["min"]:.1f}V{base - y["max"]:.1f}" stroke="black"/>')
                out.append(f'<text x="{centre:.1f}" y="{base - y["max"] - 3:.1f}" font-size="9">{rate["median"]:.2f}</text>')
            ratio = f'{row["ratio"]["median"]:.1f}x' if row["ratio"] else "failed"
            out.append(f'<text x="{middle:.1f}" y="{base - tallest - 16:.1f}">{ratio}</text>')
            out.append(f'<text x="{middle:.1f}" y="{base + 16}">{row["limit_percent"]}%</text>')
    for j, (side, colour) in enumerate(SIDES):
        out.append(f'<rect x="{20 + j * 100}" y="{height - 22}" width="12" height="12" fill="{colour}"/>')
        out.append(f'<text x="{36 + j * 100}" y="{height - 12}" text-anchor="start">{escape(side)}</text>')
    return "\n".join(out + ["</svg>", ""])


def write(result, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(markdown(result))
    text = json.dumps(result, indent=1, default=str)
    for here in (f"{Path.cwd()}/", f"{tempfile.gettempdir()}/"):  # whose machine it was is nobody's business
        text = text.replace(here, "")
    (folder / "results.json").write_text(text + "\n")
    (folder / "results.svg").write_text(svg(result))
