"""Parts that the proofs with a database share, on the host: their expectations of
databases.py's results, their table, and the course of the throughput.
"""

import csv
import os
import subprocess

from proving import KERNELS, OURS, TOP, table

HEAD = ("raw pages in", "kernel", "errors", "processes killed", "recoveries",
        "s unavailable (longest)", "transactions failed", "a second: before, during, after",
        "HardwareCorrupted kB", "hugepages missing", "killed when all is read", "data")


def create(proof):
    """The data, made on the host by the guest's own program, where it is fast."""
    os.makedirs(proof.place, exist_ok=True)
    data = os.path.join(proof.place, "data.tar")
    subprocess.run([os.path.join(TOP, "proofs", proof.name + "-guest"), "--create", data],
                   check=True)
    return data


def live(proof, more=(), **options):
    """Runs the same on each kernel; returns the results. There may be more runs: a name, a
    kernel, and words for the guest."""
    data = create(proof)
    found = {kernel: proof.guest(kernel, data, **options) for kernel in KERNELS}
    for name, kernel, *words in more:
        found[name] = proof.guest(kernel, data, *words, what=name.replace(" ", "-"), **options)
    os.unlink(data)
    return found


def wrong(row):
    """The failed checks."""
    if row["gone"]:
        return "the server is down"
    return "; ".join(f"{name}: {found}" for name, found in row["verified"].items() if found != "")


def quiet(row):
    """Did nobody notice?"""
    return not any(row[name] for name in ("killed", "recoveries", "restarts", "failed", "down",
                                          "gone"))


def expect_row(proof, row, unnoticed, prefix=""):
    """Expectations of each row on our kernel."""
    name = f"{prefix}{row['variant']}, {row['kind']}: "
    if unnoticed:
        proof.expect(name + "nobody notices", quiet(row), row)
    else:
        proof.expect(name + "no more than one recovery for an error",
                     row["recoveries"] + row["restarts"] <= row["errors"], row)
    proof.expect(name + "each error costs 4 kB", row["errors"] == row["planned"]
                 and row["corrupted_kb"] == 4 * row["errors"] and not row["refused"], row)
    proof.expect(name + "all data is there and right", not wrong(row), wrong(row))
    if "2M" in row["variant"]:
        proof.expect(name + "the pool is as large as before", row["missing"] == 0, row)


def expect(proof, found, untouched):
    """Expectations that hold on our kernel under any load, and differences that stock must
    show."""
    for row in found[OURS]["rows"]:
        expect_row(proof, row, row["kind"] in untouched)
    ours = touched(found[OURS])
    proof.expect("a process that touches a raw page dies by it", ours, found[OURS]["rows"])
    lost = [row for row in found["stock"]["rows"] if row["kind"] in untouched and not quiet(row)]
    proof.expect("on stock an error that nobody touches is noticed", lost, found["stock"]["rows"])


def touched(found):
    return sum(row["killed"] for row in found["rows"] if row["kind"] == "hot")


def line(kernel, row, kinds):
    """A row of the table."""
    name = f"{row['variant']}: {kinds[row['kind']]}"
    if "down" not in row:
        return [name, kernel, 0, *["-"] * (len(HEAD) - 4), "does not start: " + row["gone"]]
    died = row["reading"]["killed"] if row["verified"] else "-"
    starts = f"{row['restarts']} starts by hand" if row["restarts"] else ""
    deaths = " and ".join(filter(None, (str(row["recoveries"] or ""), starts))) or 0
    return [name, kernel, row["errors"], row["killed"], deaths,
            f"{row['down']:.1f} ({row['longest']:.1f})" if row["down"] else 0, row["failed"],
            ", ".join(f"{rate:.0f}" for rate in row["rates"]), row["corrupted_kb"],
            row["missing"], died, wrong(row) or "right"]


def lines(found, kinds):
    """The rows of all kernels, those of the same kind together."""
    return table(HEAD, [line(kernel, row, kinds)
                        for rows in zip(*(result["rows"] for result in found.values()))
                        for kernel, row in zip(found, rows)])


def messages(found):
    """Errors in the servers' logs, by kernel."""
    lists = []
    for kernel in found:
        said = sorted({message for row in found[kernel]["rows"]
                       for message in row.get("messages", [])
                       + row.get("reading", {}).get("messages", [])})
        lists.append(f"Errors in the server's log on {kernel}: "
                     + ("; ".join(f"`{message}`" for message in said) or "none") + ".")
    return "\n\n".join(lists)


def write_course(proof, found):
    """Throughput second by second, for a picture."""
    path = os.path.join(proof.place, "course.csv")
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("kernel", "variant", "kind", "second", "tps", "errors"))
        for kernel in found:
            writer.writerows([kernel, *point] for point in found[kernel]["course"])
