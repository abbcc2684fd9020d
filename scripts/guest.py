"""Functions that all scripts that boot guests share: building kernels, running commands in
a guest, reporting failures."""

import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
# The kernels that scripts/vm knows by name, and their make targets.
TARGETS = {"stock": "stock", "hugepoison": "kernel", "debug": "debug", "kcsan": "kcsan",
           "hostile": "hostile-kernel"}
# The line of Linux that mm/, include/ and hooks/ are written for.
NEWEST = "7.3"
# Files that a kernel is made of.
STOCK_SOURCES = ["configs"]
SOURCES = ["configs", "mm", "include", "hooks", "compat"]


def fail(message):
    """Ends the program with a message."""
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr)
    sys.exit(1)


def need_place(directory):
    """As building.bash has it."""
    if re.search(r"[\s:]", directory):
        fail(f"the path '{directory}' has a space or a colon in it, where the kernel does not"
             " build: move it")


def run(what, *words):
    """Runs a command in the repository's top directory; it has to succeed."""
    print(f"--- {what}", flush=True)
    status = subprocess.run(words, cwd=TOP, check=False).returncode
    if status:
        fail(f"{what}: {' '.join(words)} failed with status {status}")


class Table:
    """The place of a table in a document, between two comments."""

    END = "<!-- end -->\n"

    def __init__(self, document, name):
        self.path = os.path.join(TOP, document)
        begin = f"<!-- {name} -->\n"
        with open(self.path, encoding="utf-8") as file:
            before, found, rest = file.read().partition(begin)
        if not found:
            fail(f"{document} has no line {begin}")
        self.before = before + begin
        self.text, _, self.after = rest.partition(self.END)

    def write(self, text):
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.before + text + self.END + self.after)


def indented(text):
    """As a literal block of Markdown."""
    return "\n" + "".join(f"    {line}\n" for line in text.splitlines()) + "\n"


def line_and_name(kernel):
    """A kernel of another line of Linux than 6.12 is called 7.3/debug, as its image is
    in build/7.3/debug."""
    line = re.match(r"(\d+\.\d+)/(?=\w+$)", kernel)
    return (line[1], kernel[line.end():]) if line else ("", kernel)


def stock_of(kernel):
    """The stock kernel of the same line."""
    line, _ = line_and_name(kernel)
    return f"{line}/stock" if line else "stock"


def build_of(kernel):
    """The directory of a line's source and kernels, for KERNEL=7.3 or 7.3/debug."""
    line = re.match(r"\d+\.\d+(?=/|$)", kernel)
    return os.path.join(TOP, "build", line[0] if line and line[0] != "6.12" else "").rstrip("/")


def series_of(kernel):
    """The line of Linux that the patches are for, the newest without a KERNEL, and the
    directory that they come to."""
    line = re.match(r"\d+\.\d+(?=/|$)", kernel)
    line = line[0] if line else NEWEST
    return line, os.path.join(TOP, "build/series" + (f"-{line}" if line != NEWEST else ""))


def image_of(kernel):
    return os.path.join(TOP, "build", kernel, "bzImage")


def newest(directories):
    """When a file below one of the directories was last changed."""
    return max(os.stat(os.path.join(place, name)).st_mtime for directory in directories
               for place, _, names in os.walk(os.path.join(TOP, directory)) for name in names)


def is_current(kernel):
    """Whether a kernel is built, of the files as they are now."""
    sources = STOCK_SOURCES if line_and_name(kernel)[1] == "stock" else SOURCES
    return os.path.exists(image_of(kernel)) and \
        os.stat(image_of(kernel)).st_mtime >= newest(sources)


def build(kernels, *targets):
    """Makes kernels that are missing or older than their files, then the other targets of
    the Makefile."""
    for kernel in dict.fromkeys(kernels):
        line, name = line_and_name(kernel)
        if name in TARGETS and not is_current(kernel):
            run(f"kernel: {kernel}", "make", TARGETS[name], f"KERNEL={line}")
    for target in targets:
        run(target, "make", "-s", target)


def name_of(kernel):
    """The name that scripts/vm has for an image's kernel, without its line."""
    line, name = line_and_name(kernel)
    if line or "/" not in kernel:
        return name
    return os.path.basename(os.path.dirname(os.path.abspath(kernel)))


class Guest:
    """A command in a guest. The options are those of scripts/vm. Its lines come one by
    one; then there is its exit status."""

    def __init__(self, kernel, options, *command):
        self.words = [os.path.join(TOP, "scripts/vm"), "--kernel", kernel, *options, "--", *command]
        self.status = None

    def __iter__(self):
        return self.lines()

    def lines(self, **more):
        """The lines of its output; more goes to subprocess.Popen()."""
        with subprocess.Popen(self.words, cwd=TOP, stdout=subprocess.PIPE, text=True,
                              errors="replace", **more) as process:
            yield from process.stdout
        self.status = process.returncode

    def run(self, **more):
        """Its output is not read, unless the caller asks subprocess.run() for that."""
        done = subprocess.run(self.words, cwd=TOP, check=False, **more)
        self.status = done.returncode
        return done
