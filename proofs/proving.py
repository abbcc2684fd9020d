"""Parts that all proofs share: arguments, guests, expectations, tables.

A proof NAME is a program proofs/NAME, run by scripts/prove. It boots guests of
the stock kernel and of ours with the same script, proofs/NAME-guest, which leaves its
results in $SCRATCH/NAME.json. The proof checks them as TAP, so scripts/check counts them,
and writes docs/proofs/NAME.md; with --quick, the short version, build/proofs/NAME.md. Other
files of a guest (logs) stay in build/proofs/NAME/KERNEL. With --linux 7.3 all is in
build/7.3/proofs.
"""

import re
import os
import sys
import json
import time
import shutil
import argparse
import subprocess

sys.dont_write_bytecode = True
sys.path.append(os.path.join(os.path.dirname(os.path.realpath(__file__)), "../scripts"))
from guest import TOP, Guest, build_of

STOCK, OURS = "stock", "hugepoison"
KERNELS = (STOCK, OURS)


class Proof:
    """One proof: its options, its expectations, its page."""

    def __init__(self, name, doc):
        parser = argparse.ArgumentParser(prog="proofs/" + name, description=doc,
                                         formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--quick", action="store_true",
                            help="the short version, which make check runs")
        parser.add_argument("--kernel", metavar="K",
                            help="only this kernel, one with ours: nothing is written")
        parser.add_argument("--linux", metavar="LINE", default="",
                            help="both kernels are of another line of Linux, such as 7.3")
        args = parser.parse_args()
        self.line = args.linux + "/" if args.linux else ""
        self.quick = args.quick
        self.kernels = (args.kernel,) if args.kernel else KERNELS
        self.ours = self.kernels[-1]
        self.name = name
        self.proofs = os.path.join(build_of(self.line), "proofs")
        self.place = os.path.join(self.proofs, name)
        self.count = self.failed = 0

    def expect(self, what, holds, detail=""):
        """One line of TAP."""
        self.count += 1
        self.failed += not holds
        print(f"{'ok' if holds else 'not ok'} {self.count} {what}", flush=True)
        if not holds and detail:
            print(f"# {detail}", flush=True)

    def scratch(self, kernel, what=""):
        """Where a guest leaves its results."""
        name = os.path.basename(kernel)
        return os.path.join(self.place, "-".join(filter(None, (name, what))))

    def guest(self, kernel, *words, what="", dies=None, **options):
        """Boots a kernel and runs proofs/NAME-guest there with these words; returns
        NAME.json. The options are those of scripts/vm: pool_2m=8 is --pool-2m 8. With dies,
        a pattern in the console, the kernel has to die, and nothing is returned."""
        scratch = self.scratch(kernel, what)
        shutil.rmtree(scratch, ignore_errors=True)
        os.makedirs(scratch)
        command = ["--scratch", scratch]
        for option, value in options.items():
            option = "--" + option.replace("_", "-")
            for one in value if isinstance(value, (list, tuple)) else [value]:
                command += [option] if one is True else [option, str(one)]
        if self.quick:
            words += ("--quick",)
        begin = time.monotonic()
        print(f"# {self.name}: {kernel} {what} ...", flush=True)
        guest = Guest(self.line + kernel, command, os.path.join("proofs", self.name + "-guest"), *words)
        run = guest.run(text=True, stderr=subprocess.PIPE if dies else None)
        status = guest.status
        print(f"# {self.name}: {kernel} {what}: {time.monotonic() - begin:.0f} s", flush=True)
        if dies:
            self.expect(f"{kernel} {what}: the kernel dies of it",
                        status and re.search(dies, run.stderr), run.stderr[-2000:])
            return None
        self.expect(f"{kernel} {what}".strip() + ": the guest did it all, its kernel said nothing",
                    status == 0, f"exit status {status}")
        if status:
            self.end()
        with open(os.path.join(scratch, self.name + ".json"), encoding="utf-8") as file:
            return json.load(file)

    def write(self, text):
        """Writes the page, with the command that made it."""
        documented = not (self.quick or self.line)
        directory = os.path.join(TOP, "docs/proofs") if documented else self.proofs
        os.makedirs(directory, exist_ok=True)
        command = " ".join(["scripts/prove", *["--linux " + self.line[:-1]] * bool(self.line),
                            *["--quick"] * self.quick, self.name])
        with open(os.path.join(directory, self.name + ".md"), "w", encoding="utf-8") as file:
            file.write(f"<!-- written by {command} -->\n{text.rstrip()}\n\n"
                       f"Made by `{command}` on {', '.join(versions(line=self.line))}.\n")

    def end(self):
        """The plan, and the exit status."""
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed else 0)


def versions(*packages, line=""):
    """Versions: the kernel of a line, QEMU and Debian packages."""
    with open(os.path.join(build_of(line), "hugepoison/config"), encoding="utf-8") as file:
        kernel = next(line for line in file if line.startswith("# Linux/")).split()[2]
    return [f"Linux {kernel}"] + [
        f"{package} {version(package)}" for package in ("qemu-system-x86",) + packages]


def version(package):
    return subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def table(head, rows):
    """As Markdown; all but the first column are figures."""
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in [head] + list(rows)]
    lines.insert(1, "|---|" + "---:|" * (len(head) - 1))
    return "\n".join(lines)
