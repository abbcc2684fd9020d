"""Parts that the proofs with a database share, in the guest.

A trial is one kind of raw page: the server runs under load, the trial reports errors in raw
pages of that kind at a steady rate, and writes down the results. A database
(proofs/NAME-guest) starts and queries its server, and finds raw pages of a kind in the
server's memory.
"""

import argparse
import ctypes
import json
import os
import random
import re
import subprocess
import sys
import threading
import time

PAGE = 4096
PATIENCE = 20           # an answer that took longer is none
LIMIT = 120             # seconds for a server to come up, or for a raw page to be found
SETTLE = 5              # seconds for a pool to be refilled
OFFLINE = "/sys/devices/system/memory/hard_offline_page"

now = time.monotonic


class Lost(Exception):
    """The connection is gone, or could not be made."""


class Refused(Exception):
    """The server answered with an error."""


class NoPage(Exception):
    """There is no raw page of this kind now."""


class Plan:
    """How long, and how many errors: what a trial does."""

    def __init__(self, quick, **more):
        self.before, self.errors, self.interval, self.after = (
            (2, 2, 1, 2) if quick else (4, 3, 2, 4))
        vars(self).update(more)


# Memory

def of_process(pid, name, mode="rb"):
    try:
        return open(f"/proc/{pid}/{name}", mode, buffering=0 if "b" in mode else -1)
    except OSError as error:
        raise Lost(f"process {pid} is gone") from error


def mappings(pid, pattern):
    """First and last address (not included) of each line of /proc/PID/maps that
    matches."""
    try:
        with of_process(pid, "maps", "r") as file:
            lines = file.readlines()
    except ProcessLookupError as error:
        raise Lost(f"process {pid} is gone") from error
    return [tuple(int(word, 16) for word in line.split()[0].split("-"))
            for line in lines if re.search(pattern, line)]


def mapping(pid, pattern):
    """The same for all lines: a mapping that was narrowed has several."""
    ranges = mappings(pid, pattern)
    if not ranges:
        raise NoPage(f"process {pid} has no mapping that matches {pattern}: is it on hugepages?")
    return ranges[0][0], ranges[-1][1]


def frame(pid, address):
    """The process's page frame at the address; none if the process has not touched it."""
    try:
        with of_process(pid, "pagemap") as file:
            file.seek(address // PAGE * 8)
            entry = int.from_bytes(file.read(8), sys.byteorder)
    except ProcessLookupError as error:
        raise Lost(f"process {pid} is gone") from error
    return entry & ((1 << 55) - 1) if entry >> 63 else None


def memory(pid, address, length):
    """The contents; None if they cannot be read. Faults the page in, raises no signal."""
    with of_process(pid, "mem") as file:
        try:
            file.seek(address)
            return file.read(length)
        except OSError:
            return None


def report_error(pfn):
    """Reports an error as a memory scrubber does, action optional; the kernel's answer, or
    ''."""
    try:
        with open(OFFLINE, "w", encoding="ascii") as file:
            file.write(hex(pfn * PAGE))
    except OSError as error:
        return os.strerror(error.errno)
    return ""


def killed():
    """Processes that the kernel has killed for touching an error, as its log says."""
    log = subprocess.run(["dmesg"], check=True, stdout=subprocess.PIPE, text=True,
                         errors="replace").stdout
    return set(re.findall(r"(?:Killing|Sending SIGBUS to) \S+:(\d+) due to hardware memory", log))


def corrupted_kb():
    with open("/proc/meminfo", encoding="ascii") as file:
        return int(re.search(r"HardwareCorrupted:\s*(\d+)", file.read())[1])


def free_hugepages(kilobytes):
    with open(f"/sys/kernel/mm/hugepages/hugepages-{kilobytes}kB/free_hugepages",
              encoding="ascii") as file:
        return int(file.read())


# Time

class Probe(threading.Thread):
    """Asks the server ten times a second over a connection of its own, and takes a
    new one when it has lost it."""

    def __init__(self, database):
        super().__init__(daemon=True)
        self.database = database
        self.connection = None
        self.over = threading.Event()
        self.asked = []         # [when, answered when or None, well]

    def ask(self):
        try:
            self.connection = self.connection or self.database.connect()
            self.connection.rows(self.database.question(len(self.asked)))
            return True
        except Refused:
            return False
        except Lost:
            self.connection = None
            return False

    def run(self):
        while not self.over.is_set():
            question = [now(), None, False]
            self.asked.append(question)
            question[2] = self.ask()
            question[1] = now()
            self.over.wait(max(0.0, question[0] + 0.1 - question[1]))

    def answered(self):
        """The numbers of the questions that got a good answer."""
        return [number for number, question in enumerate(self.asked, 1) if question[2]]

    def gaps(self, begin):
        """Since begin: seconds from the last good answer before a bad one to the
        next good one."""
        found, last, bad = [], begin, False
        for asked, answered, well in list(self.asked):
            if answered is None and now() - asked < PATIENCE:
                continue
            well = well and answered - asked < PATIENCE
            if well and bad and answered > begin:
                found.append(answered - max(last, begin))
            last, bad = (answered if well else last), not well
        return found + [now() - max(last, begin)] * bad


class Load(threading.Thread):
    """A load generator and its results. It starts again when it has ended, as a pool of
    connections would connect again."""

    def __init__(self, command, progress, failed, done, log, **options):
        super().__init__(daemon=True)
        self.command, self.options = command, options
        self.progress, self.failed, self.done = map(re.compile, (progress, failed, done))
        self.log = log
        self.over = threading.Event()
        self.process = None
        self.seconds = []       # (when, seconds, transactions)
        self.lost = 0           # transactions that were begun, and failed
        self.processed = 0      # and that the server reported as committed

    def run(self):
        while not self.over.is_set():
            self.process = subprocess.Popen(
                self.command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                **self.options)
            lost = set()
            last = 0.0
            for line in self.process.stdout:
                last = self.line(line, last, lost)
            self.process.wait()
            self.lost += len(lost)
            self.over.wait(0.1)

    def line(self, line, last, lost):
        """One line of what it prints; when its last progress was."""
        self.log.write(f"{now():.2f} {line}")
        if match := self.progress.search(line):
            stamp, rate = map(float, match.groups())
            self.seconds.append((now(), stamp - last, rate * (stamp - last)))
            return stamp
        if match := self.failed.search(line):
            lost.add(match[1] if match.groups() else len(lost))
        if match := self.done.search(line):
            self.processed += int(match[1])
        return last

    def end(self, number):
        self.over.set()
        if self.process:
            self.process.send_signal(number)
        self.join()

    def rate(self, begin, end):
        """Transactions a second between two moments."""
        return sum(count for when, _, count in self.seconds if begin < when <= end) / (end - begin)


class Trial:
    """Errors in one kind of raw page, while the server works."""

    def __init__(self, database, kind, plan, log):
        self.database, self.kind, self.plan, self.log = database, kind, plan, log
        self.errors = []        # [when, page frame, what the kernel said]
        self.restarts = 0
        self.gone = ""
        self.dead = killed()
        self.probe = self.load = None

    def say(self, text):
        print(f"# {now():.0f} s: {self.database.name}, {self.kind}: {text}", flush=True)

    def come_up(self):
        """Waits for a server that answers; starts it when it has ended itself."""
        deadline = now() + LIMIT
        while now() < deadline:
            try:
                return self.database.connect().rows("select 1")
            except (Lost, Refused):
                pass
            if not self.database.running():
                self.restarts += 1
                self.say("the server is gone and is started again")
                why = self.database.start()
                if why:
                    self.gone = why
                    self.say(f"it does not start: {why}")
                    return None
            time.sleep(0.1)
        self.gone = f"no answer for {LIMIT} s"
        return None

    def insist(self, work, *words):
        """work(), again if the server went away or an error came meanwhile."""
        begin = now()
        while not self.gone:
            try:
                return work(*words)
            except (Lost, Refused, NoPage) as error:
                self.log.write(f"{now():.2f} {work.__name__}: {error}\n")
                if now() > begin + LIMIT:
                    sys.exit(f"{self.kind}: {work.__name__} did not succeed within {LIMIT} s: "
                             f"{error}")
                if isinstance(error, Refused) and now() > begin + PATIENCE:
                    self.renew(error)
                self.come_up()
                time.sleep(0.1)
        return None

    def renew(self, error):
        """A server that refuses the same again and again is started anew by hand."""
        self.say(f"the server is started anew: {error}")
        self.restarts += 1
        self.database.stop()
        self.gone = self.database.start()

    def find(self):
        """Page frame of a raw page of this kind, with everything in its place."""
        self.database.prepare(self.kind)
        pid, address = self.database.pick(self.kind)
        pfn = frame(pid, address)
        if pfn is None:
            raise NoPage(f"nothing at {address:#x} of process {pid}")
        return pfn

    def hit(self):
        pfn = self.insist(self.find)
        if pfn is None:
            return
        self.errors.append([now(), pfn, report_error(pfn)])
        self.say(f"error in page frame {pfn:#x}{' '.join(['', *filter(None, self.errors[-1][2:])])}")

    def strike(self):
        """The errors, at a steady rate, which waits for a server that is down."""
        due = now()
        for _ in range(self.plan.errors):
            time.sleep(max(0, due - now()))
            self.hit()
            due = now() + self.plan.interval
        time.sleep(max(0, due - now()))
        if not self.gone:
            self.come_up()

    def work(self):
        """Load and errors: three stretches of time, before, during and after them."""
        self.probe, self.load = Probe(self.database), self.database.load(self.log)
        self.probe.start()
        self.load.start()
        self.await_load()
        moments = [now()]
        time.sleep(self.plan.before)
        moments.append(now())
        self.strike()
        moments.append(now())
        if not self.gone:
            self.await_load()
        begin = now()
        time.sleep(self.plan.after)
        stretches = [moments[:2], moments[1:], [begin, now()]]
        gaps = self.probe.gaps(moments[1])
        self.load.end(self.database.END)
        self.probe.over.set()
        self.probe.join(LIMIT)
        return gaps, [self.load.rate(*stretch) for stretch in stretches], moments[1]

    def await_load(self):
        """Until it has got something done from now on."""
        begin = now()
        while not any(count for when, _, count in self.load.seconds if when > begin):
            if now() > begin + LIMIT:
                sys.exit(f"{self.kind}: the load got nothing done for {LIMIT} s")
            time.sleep(0.1)

    def settled(self, free):
        """Free hugepages that are missing, once nobody has any; waits for the worker
        that refills the pool."""
        deadline = now() + SETTLE
        while free_hugepages(self.database.kilobytes) < free and now() < deadline:
            time.sleep(0.1)
        return free - free_hugepages(self.database.kilobytes)

    def run(self):
        """All of it; a row of the table, and what was done second by second."""
        free, corrupted = free_hugepages(self.database.kilobytes), corrupted_kb()
        self.database.toll()
        why = self.database.start()
        if why:
            self.say(f"the server does not start: {why}")
            return {"kind": self.kind, "errors": 0, "gone": why}, []
        self.insist(self.database.prepare, self.kind)
        self.say("load")
        gaps, rates, zero = self.work()
        row = {"kind": self.kind, "planned": self.plan.errors, "errors": len(self.errors), "gone": self.gone,
               "refused": [said for _, _, said in self.errors if said],
               "down": sum(gaps), "longest": max(gaps, default=0),
               "failed": self.load.lost, "processed": self.load.processed, "rates": rates,
               **self.toll(), "corrupted_kb": corrupted_kb() - corrupted}
        self.say("verify")
        row["verified"] = {} if self.gone else self.verify()
        row["reading"] = self.toll()
        self.database.stop()
        row["missing"] = self.settled(free)
        self.say(json.dumps(row))
        return row, self.course(zero)

    def toll(self):
        """Processes that died since the last call, and the server's messages about them."""
        dead, self.dead = self.dead, killed()
        restarts, self.restarts = self.restarts, 0
        return {"killed": len(self.dead - dead), "restarts": restarts, **self.database.toll()}

    def verify(self):
        """Results of the database's checks: name, and '' if it is right."""
        return {name: self.insist(check, self) for name, check in self.database.checks()}

    def course(self, zero):
        """(second since the first error, transactions a second, errors)"""
        hits = [when - zero for when, _, _ in self.errors]
        return [(round(when - zero, 2), round(count / length, 1),
                 sum(when - zero - length < hit <= when - zero for hit in hits))
                for when, length, count in self.load.seconds if length > 0]


# Programs and libraries

class Answer:
    """How the functions of a C library are called: name, result, arguments."""

    def __init__(self, library, **functions):
        self.library = ctypes.CDLL(library)
        for name, (result, *arguments) in functions.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments


def shuffled(items):
    items = list(items)
    random.shuffle(items)
    return items


def unpack(data, place, user, size):
    """The data that was made on the host, in a directory in memory."""
    os.makedirs(place, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], check=True)
    subprocess.run(["tar", "-C", place, "-xf", data], check=True)
    subprocess.run(["chown", user, place], check=True)


def pack(place, data):
    subprocess.run(["tar", "-C", place, "-cf", data, "."], check=True)


def must(result):
    """A program's output; ends this program if that one failed."""
    if result.returncode:
        sys.exit(f"{' '.join(result.args)}: exit status {result.returncode}\n{result.stdout}")
    return result.stdout


def as_user(user, *words):
    """Runs a program as somebody else; only its output is ours."""
    return subprocess.run(["runuser", "-u", user, "--", *words], check=False, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, cwd="/")


def arguments(doc):
    """The arguments of a guest's program."""
    parser = argparse.ArgumentParser(description=doc,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--create", action="store_true",
                        help="only make the data, on the host: DATA is written")
    parser.add_argument("--quick", action="store_true", help="the short version")
    parser.add_argument("--extension", metavar="DIR",
                        help="files of an extension of the server, to be installed and used")
    parser.add_argument("data", metavar="DATA", help="a tar archive")
    return parser.parse_args()


def run(name, trials, **more):
    """Runs all trials (database, kind, plan); leaves their results, and more, in
    $SCRATCH."""
    scratch = os.environ["SCRATCH"]
    result = {"plan": vars(trials[0][2]), "rows": [], "course": [], **more}
    with open(os.path.join(scratch, "load.log"), "w", encoding="utf-8", buffering=1) as log:
        for database, kind, plan in trials:
            row, course = Trial(database, kind, plan, log).run()
            result["rows"].append({"variant": database.name, **row})
            result["course"] += [[database.name, kind, *point] for point in course]
    with open(os.path.join(scratch, name + ".json"), "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
