"""Turn the results into the README's tables and one picture of how time and memory grow."""

import io
import statistics
from pathlib import Path

LABELS = {"picturebook": "picturebook", "alexnet": "AlexNet", "vgg16": "VGG-16",
          "resnet18": "ResNet-18"}  # fmt: skip
LETTERS = {"Captum": "C", "pytorch-grad-cam": "G", "TorchCAM": "T"}
COLOURS = {"ours": "#2c5ba7", "Captum": "#d44e43", "pytorch-grad-cam": "#e39a2d",
           "TorchCAM": "#872774", "floor": "#1d1b22"}  # fmt: skip
BYTES = 60_000  # of the picture
TITLE = "How time (above) and peak memory (below) grow on the picture book's network"
# A race is won or lost by less than this only by chance.
NOISE, FLOOR = 0.03, 1.3


def ratio(times, other):
    """Divide round by round, and take the median: what slows a whole round falls out."""
    return statistics.median(ours / theirs for ours, theirs in zip(times["ours"], times[other]))


def best_peer(times):
    """Name the peer with the smallest median, or None."""
    peers = [who for who in times if who not in ("ours", "floor")]
    return min(peers, key=lambda who: statistics.median(times[who]), default=None)


def spread(times):
    """Give half the distance between the quartiles, as a share of the median."""
    if len(times) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(times, n=4)
    return (high - low) / 2 / middle


def duration(milliseconds):
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1e3:.1f} s"


def one_line(row):
    """Print a row of the results for a terminal."""
    times, passes = row["times"], ""
    if row["unit"]:
        passes = f", {row['passes']} {row['unit']}"
    words = f"{row['network']}, batch {row['batch']}, {row['method']}{passes}"
    words = f"{words:56s} {duration(statistics.median(times['ours'])):>8s} "
    words += f"±{spread(times['ours']):.0%} of {len(times['ours'])}"
    words += "".join(f", {ratio(times, who):.2f} of {who}'s" for who in times if who != "ours")
    words += "".join(f", {mb:.0f} MB {who}" for who, mb in row["memory"].items() if mb is not None)
    return words + "".join(f", {who} cannot: {why[:60]}" for who, why in row["failed"].items())


def cell(row):
    """Sum up one race: time and spread, of the best peer's, of the floor's."""
    times, peer = row["times"], best_peer(row["times"])
    words = f"{duration(statistics.median(times['ours']))} ±{spread(times['ours']):.0%}"
    if row["passes"] < row["full"]:
        words += f" ({row['passes']})"
    against = f"{ratio(times, peer):.2f} {LETTERS[peer]}" if peer else "–"
    return f"{words}; {against}; {ratio(times, 'floor'):.2f}"


def memory_cell(row):
    """Put our peak of memory before the most frugal peer's, in MB."""
    peers = [mb for who, mb in row["memory"].items() if who != "ours" and mb is not None]
    ours = row["memory"].get("ours")
    return f"{ours:.0f}; {min(peers):.0f}" if peers and ours is not None else "–"


def grid(rows, show):
    """Lay rows out as a Markdown table, a method a line, a network a column."""
    networks = [name for name in LABELS if any(row["network"] == name for row in rows)]
    found = {(row["method"], row["network"]): show(row) for row in rows}
    lines = ["| | " + " | ".join(LABELS[name] for name in networks) + " |",
             "|---|" + "---|" * len(networks)]  # fmt: skip
    for method in dict.fromkeys(row["method"] for row in rows):
        cells = [found.get((method, name), "–") for name in networks]
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def described(machine):
    versions = ", ".join(f"{name} {v}" for name, v in machine["packages"].items() if v)
    return (f"{machine['processor'] or machine['machine']}, {machine['cpus']} CPUs, "
            f"{machine['threads']} threads, Python {machine['python']}, {versions}")  # fmt: skip


def goals(rows):
    """List the races in which we are slower than the best peer, or far above the floor."""
    lines = []
    for row in rows:
        peer, words = best_peer(row["times"]), []
        if peer and ratio(row["times"], peer) > 1 + NOISE:
            words.append(f"{ratio(row['times'], peer):.2f} of {peer}'s")
        if row["network"] != "resnet18" and ratio(row["times"], "floor") > FLOOR:
            words.append(f"{ratio(row['times'], 'floor'):.2f} of the floor's")
        if words:
            where = f"{row['method']}, {row['network']}, batch {row['batch']}"
            lines.append(f"{where}: {', '.join(words)}")
    return lines


def folded(title, text):
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def tables(results):
    """Write the README's performance section out of the results, in Markdown."""
    rows, parts = results.get("attributions", []), []
    if rows:
        parts.append(f"`make bench` on {described(results['machine']['attributions'])}.")
        parts.append(
            "Each cell: median time ± half the distance of the quartiles, of one 224 × 224 "
            "picture; how much of the best peer's time in the same rounds that is (C Captum, G "
            "pytorch-grad-cam, T TorchCAM); and how much of the bare forward and backward passes' "
            "time. Integrated gradients take 50 steps, SmoothGrad 50 samples, Score-CAM all "
            "channels as masks, or as many as stand in brackets."
        )
        for batch in sorted({row["batch"] for row in rows}):
            text = grid([row for row in rows if row["batch"] == batch], cell)
            parts.append(text if batch == 1 else folded(f"{batch} pictures in a batch", text))
        measured = [row for row in rows if row["memory"]]
        if measured:
            parts.append(folded("Peak of memory above the loaded network, in MB: ours; the most "
                                "frugal peer's", grid(measured, memory_cell)))  # fmt: skip
    small = {**(results.get("small_things") or {}), **(results.get("sliders") or {})}
    if small:
        lines = ["| | median | 95 % below |", "|---|---|---|"]
        for what, times in small.items():
            high = statistics.quantiles(times, n=20)[-1] if len(times) > 9 else max(times)
            lines.append(f"| {what} | {statistics.median(times):.0f} ms | {high:.0f} ms |")
        parts.append("\n".join(lines))
    if results.get("lessons"):
        lines = ["| lesson | time | memory | slowest step of a control |", "|---|---|---|---|"]
        for name, row in results["lessons"].items():
            slowest = duration(max(row["steps"].values())) if row["steps"] else "–"
            lines.append(f"| {name} | {row['wall']:.0f} s | {row['memory']:.0f} MB | {slowest} |")
        parts.append(folded("Each lesson", "\n".join(lines)))
    if results.get("gpu"):
        worst = max(one["gap"] for one in results["gpu"]["equal"])
        name = results["machine"]["gpu"]["gpu"]
        parts.append(f"On a GPU ({name}) all maps are those of the CPU up to {worst:.0e} of their "
                     f"largest value (64-bit numbers).")  # fmt: skip
        for batch in sorted({row["batch"] for row in results["gpu"]["rows"]}):
            chosen = [row for row in results["gpu"]["rows"] if row["batch"] == batch]
            parts.append(folded(f"On the GPU, batch {batch}", grid(chosen, cell)))
    return "\n\n".join(parts)


def picture(rows):
    """Draw how time (above) and memory (below) grow, a panel for each method."""
    from cnnvis_helpers.figures import arrange, chart, render

    panels = []
    for unit in ("ms", "MB"):
        for method in dict.fromkeys(row["method"] for row in rows):
            chosen = [row for row in rows if row["method"] == method]
            what = "pixels a side" if chosen[0]["grows"] == "size" else chosen[0]["unit"]
            with chart(None, what, f"{method}, {unit}", width=300, height=220) as axes:
                for who in chosen[0]["times"]:
                    values = [statistics.median(row["times"][who]) if unit == "ms"
                              else row["memory"].get(who) for row in chosen]  # fmt: skip
                    if None not in values:
                        xs = [row[row["grows"]] for row in chosen]
                        style = ":" if who == "floor" else "o-"
                        axes.plot(xs, values, style, color=COLOURS[who], markersize=3,
                                  linewidth=1.3, label=who)  # fmt: skip
                axes.set_ylim(0, 1.2 * axes.get_ylim()[1])
                axes.legend(loc="best", fontsize=7)
            panels.append(render(axes.figure))
    return render(arrange(*panels, columns=len(panels) // 2, height=220, title=TITLE))


def save(image, path):
    for quality in range(86, 30, -6):  # the best that fits
        small, buffer = image.resize((image.width // 2, image.height // 2)), io.BytesIO()
        small.save(buffer, "jpeg", quality=quality, optimize=True)
        if buffer.tell() <= BYTES:
            break
    Path(path).write_bytes(buffer.getvalue())


def write_report(results, path=None):
    """Print the tables; save the picture, by default where the README shows it from."""
    print(tables(results))
    for words in goals(results.get("attributions", [])):
        print("above the goal:", words)
    if results.get("growth"):
        from cnnvis_helpers import folder
        from cnnvis_helpers.picturebook.catalogue import write_readme

        save(picture(results["growth"]), path or folder("data") / "gallery" / "speed.jpg")
        if path is None:
            write_readme(folder("data"))  # it holds every file's checksum
