"""Our kernel code, piece by piece, and the pieces that a step of the series has.

A piece is a function, a type, a variable, a macro, with the comment before it.
When it comes follows from the code, so a rename or a move changes nothing here:

 - A piece comes with the first step whose hooks need it: by their calls, by the calls of
   those functions, and so on.
 - A function does not come before the step that a cut names: of the function
   itself, or of its file. Called earlier it is there as a stub, with its comment
   and arguments; the body says what it returns until then.
 - A piece without users (an initcall, a test) comes with its file.
"""

import difflib
import fnmatch
import functools
import os
import re


# Words before a parenthesis that do not name a defined thing.
NOT_NAMES = {"IS_ENABLED", "sizeof", "defined"}
DEFINES_ITS_ARGUMENT = re.compile(
    r"(?:(?:static|extern|VISIBLE_IF_KUNIT)\s+)?(?:DEFINE_\w+|DECLARE_\w+|LLIST_HEAD|LIST_HEAD|\w+_initcall"
    r"|EXPORT_SYMBOL_GPL|kunit_test_suites?)\(\s*&?(\w+)")


class Misfit(Exception):
    """A misfit, in words for the user."""


# --- our files, piece by piece ---------------------------------------------------


class Piece:
    """A function, a type, a declaration, with the comment before it; or a
    group between #if and #endif, whose lines are pieces, with #else in between."""

    def __init__(self, lines, children=None, end=None):
        self.lines, self.children, self.end = lines, children, end
        self.other = False      # the pieces without the option, after an #else
        self.name = None if children is not None else name_of("".join(lines))


def without_comments(text):
    return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)


def name_of(text):
    """The name that a piece defines or declares, None if it is only a comment."""
    code = without_comments(text).strip()
    if not code:
        return None
    if match := re.match(r'#\s*include\s+(\S+)', code):
        return "include " + match[1]
    if match := re.match(r"#\s*(?:define|undef)\s+(\w+)", code):
        return match[1]
    if match := re.match(r"ATTRIBUTE_GROUPS\((\w+)\)", code):
        return match[1] + "_groups"
    if match := DEFINES_ITS_ARGUMENT.match(code):
        return match[1]
    head = code.split("{")[0].split("=")[0].rstrip("; \n")
    if match := re.fullmatch(r"(?:static\s+)?(struct|enum)\s+(\w+)", head):
        return f"{match[1]}_{match[2]}"
    head = re.sub(r"\[[^\]]*\]", "", head)
    calls = [name for name in re.findall(r"(\w+)\s*\(", head)
             if name not in NOT_NAMES and not name.startswith("__")]
    if calls:
        return calls[0]
    found = re.findall(r"\w+", re.sub(r"\b__\w+$", "", head))
    return found[-1] if found else None


def balance(line):
    """How many braces a line opens more than it closes."""
    code = re.sub(r"/\*.*?(\*/|$)|//.*|\"(\\.|[^\"\\])*\"|'(\\.|[^'\\])'", "", line)
    return code.count("{") - code.count("}")


class Reader:
    """Reads the text of a file as pieces."""

    def __init__(self, text):
        self.lines = text.splitlines(keepends=True)
        self.at = 0

    def pieces(self):
        """Up to the end of the file, or of the group that is being read."""
        found, pending = [], []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if re.match(r"#\s*(endif|else|elif)", line):
                if pending:
                    found.append(Piece(pending))
                return found
            if re.match(r"#\s*if", line):
                found.append(self.group(pending))
                pending = []
                continue
            if not line.strip() and pending and not "".join(pending).isspace():
                found.append(Piece(pending))
                pending = []
            pending.append(line)
            self.at += 1
            if line.lstrip().startswith("/*") or line.startswith("//"):
                self.comment(pending, line)
            elif line.strip():
                self.rest_of_code(pending, line)
                found.append(Piece(pending))
                pending = []
        if pending:
            found.append(Piece(pending))
        return found

    def comment(self, pending, line):
        while line.lstrip().startswith("/*") and "*/" not in "".join(pending[-60:]).rpartition("/*")[2]:
            pending.append(self.lines[self.at])
            self.at += 1

    def rest_of_code(self, pending, line):
        """A directive ends with its line; code with a ; or the last brace."""
        directive = line.startswith("#")
        depth = balance(line)
        while self.at < len(self.lines):
            last = re.sub(r"/\*.*?\*/", "", pending[-1]).rstrip()
            if directive:
                if not last.endswith("\\"):
                    return
            elif depth == 0 and last.endswith((";", "}")):
                return
            pending.append(self.lines[self.at])
            depth += balance(self.lines[self.at])
            self.at += 1

    def group(self, before):
        """From #if on; lines before it are its comment."""
        begin = before + [self.lines[self.at]]
        self.at += 1
        children = self.pieces()
        while re.match(r"#\s*(else|elif)", self.lines[self.at]):
            children.append(Piece([self.lines[self.at]], children=[], end=[]))
            self.at += 1
            children += self.pieces()
        end = [self.lines[self.at]]
        self.at += 1
        return Piece(begin, children=children, end=end)


GONE = "\0"      # where pieces were left out


def all_lines(pieces):
    """The lines of all pieces, as they were read."""
    return [line for piece in pieces
            for line in piece.lines + all_lines(piece.children or []) + (piece.end or [])]


def has_code(line):
    return bool(line.strip(" \t\n" + GONE)) and \
        not line.lstrip().startswith(("/*", "*", "//", "#else"))


def tidy(lines):
    """Omitted pieces leave the empty line before them where one belongs."""
    text = "".join(lines).replace(GONE, "")
    return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"


# --- pieces, and the names they use ----------------------------------------------

CODE = re.compile(r"mm/hugepoison/.*\.[ch]|include/linux/hugepoison\.h")


def is_code(file):
    return bool(CODE.fullmatch(file))


@functools.cache
def words(text):
    """The names in a piece of code; types as name_of() has them."""
    code = re.sub(r'"(\\.|[^"\\\n])*"', '""', without_comments(text))
    tag = r"\b(struct|enum)\s+(\w+)"
    found = set(re.findall(r"\b[A-Za-z_]\w*", re.sub(tag, "", code)))
    found |= {f"{kind}_{name}" for kind, name in re.findall(tag, code)}
    for name in re.findall(r"\b__ATTR_\w+\((\w+)\)", code):
        found |= {f"{name}_show", f"{name}_store"}
    for name in re.findall(r"\bATTRIBUTE_GROUPS\((\w+)\)", code):
        found.add(f"{name}_attrs")
    found |= {f"{prefix}*" for prefix in re.findall(r"\b(\w+)##", code)}
    return frozenset(found)


def is_function(piece):
    """Whether it is a function with its body; the kernel's style has the brace alone."""
    return "{\n" in piece.lines


def head_of(piece):
    """A function's words before its arguments."""
    head = without_comments("".join(piece.lines)).split("{")[0]
    return head[:head.index(piece.name + "(")] if piece.name + "(" in head else head


def is_static(piece):
    return bool(re.search(r"\bstatic\b", head_of(piece)))


def default_body(piece):
    """The default body of a stub; None if its step has to give one."""
    returns = head_of(piece)
    if "*" in returns:
        return None if re.search(r"\bchar\b", returns) else "return NULL;"
    if re.search(r"\bvoid\b", returns):
        return ""
    if re.search(r"\bbool\b", returns):
        return "return false;"
    return None if re.search(r"\b(enum|struct|pte_t|pmd_t)\b", returns) else "return 0;"


def stub_of(piece, body):
    """The function with its comment and arguments, and another body."""
    lines = piece.lines[:piece.lines.index("{\n") + 1]
    return lines + [f"\t{line}\n" for line in body.splitlines()] + ["}\n"]


def elements(lines):
    """A list of initializers as (lines, is an element): the lines of one go together."""
    begin = next((n for n, line in enumerate(lines) if line.rstrip().endswith("= {")), None)
    if begin is None:
        return [(lines, False)]
    found, depth, pending = [(lines[:begin + 1], False)], 0, []
    for line in lines[begin + 1:]:
        if depth == 0 and line.startswith("}"):
            return found + [(pending, False)] * bool(pending) + [(lines[-1:], False)]
        pending.append(line)
        depth += balance(line)
        if depth == 0 and without_comments(line).rstrip().endswith(","):
            found.append((pending, True))
            pending = []
    return [(lines, False)]


class Thing:
    """All pieces of a name: a function, its declarations, its twin without the option."""

    def __init__(self, name):
        self.name, self.pieces = name, []
        self.floor, self.named = 0, None

    def add(self, file, piece):
        self.pieces.append((file, piece))

    def body(self):
        """File and piece of the function, None for other names."""
        return next(((file, piece) for file, piece in self.pieces
                     if is_function(piece) and not piece.other), None)

    def is_directive(self):
        return all(piece.lines[-1].startswith("#") or "\n#" in "".join(piece.lines)
                   for _, piece in self.pieces)

    def files(self):
        return {file for file, _ in self.pieces}


class Code:
    """Which pieces there are after which step. A step has a number, files, names (pieces
    that do not come before it) and stubs (names with their bodies until they come)."""

    def __init__(self, texts, steps, hook_words, local=()):
        """Our code by path; the steps; the words that hooks add, step by step; the names that
        are global for our own files only."""
        self.last = len(steps)
        self.steps, self.hook_words, self.local = steps, hook_words, local
        self.pieces = {file: Reader(text).pieces() for file, text in texts.items()}
        for file, text in texts.items():
            if "".join(all_lines(self.pieces[file])) != text:
                raise Misfit(f"{file}: reading it as pieces changes it")
        self.things = {}
        for file, pieces in self.pieces.items():
            self.collect(file, pieces, False)
        self.included = {file: self.files_included(file, text) for file, text in texts.items()}
        self.inner = self.inner_names()
        self.stubs, self.stubbed, self.problems = {}, set(), []
        self.set_floors()
        self.unused = self.find_unused()
        self.states = [self.reach(number) for number in range(self.last + 1)]

    def collect(self, file, pieces, other):
        """Notes pieces that have a name; other for pieces without the option."""
        for piece in pieces:
            if piece.end == []:
                other = True
            elif piece.children is not None:
                self.collect(file, piece.children, other)
            elif piece.name and not piece.name.startswith("include "):
                piece.other = other
                self.things.setdefault(piece.name, Thing(piece.name)).add(file, piece)

    def files_included(self, file, text):
        """The files of our code that one includes as its parts."""
        parts = re.findall(r'^#include "(.*\.c)"$', text, re.MULTILINE)
        return [path for path in (os.path.join(os.path.dirname(file), part) for part in parts)
                if path in self.pieces]

    # --- the steps' lines

    def floor_of(self, file):
        """The step that a file of code is listed in, 0 for one that is not."""
        found = [step.number for step in self.steps for path in step.files
                 if file == path or (path.endswith("/") and file.startswith(path))]
        return min(found, default=0)

    def set_floors(self):
        for thing in self.things.values():
            body = thing.body()
            if body:
                thing.floor = self.floor_of(body[0])
        for step in self.steps:
            for name in self.names_of(step):
                self.things[name].floor = self.things[name].named = step.number
            for name, body in step.stubs:
                self.stubs.setdefault(name, []).append((step.number, body))

    def names_of(self, step):
        """The existing names that the step gives; * is for any letters."""
        return {name for pattern in step.names
                for name in fnmatch.filter(self.things, pattern)}

    # --- where the steps and the code do not fit

    def check(self, options=()):
        """Collects the problems; names of Kconfig options are no code."""
        for step in self.steps:
            for name in step.names:
                if not fnmatch.filter(self.things, name) and name not in options:
                    self.unknown(step, name)
            for path in step.files:
                if is_code(path) and path not in self.pieces:
                    self.problem(f"{path}, of {step.path}, is not there",
                                 "write the file's new path there, or delete it")
            for name, _ in step.stubs:
                if name not in self.things:
                    self.unknown(step, name)
                elif name not in self.stubbed and self.first_step(name):
                    self.problem(f"{name} has a stub in {step.path}, and is never called before"
                                 f" it comes, in step {self.first_step(name)}",
                                 "delete the line stub")
        self.check_unused()
        for name, thing in self.things.items():
            first = self.first_step(name)
            if thing.named and first:
                self.check_named(name, thing, first)

    def check_unused(self):
        """Pieces that never come: above all pieces without users, as an initcall."""
        never = {name for name in self.things
                 if self.first_step(name) is None and not self.is_with_file(name)}
        for name in sorted(never & self.unused or never):
            file = (self.things[name].body() or self.things[name].pieces[0])[0]
            self.problem(f"{file} is in no step, and nothing there uses {name}",
                         "add the file to the line files: of the step that it comes with")

    def unknown(self, step, name):
        near = difflib.get_close_matches(name, self.things, 1)
        self.problem(f"{name}, of {step.path}, is nowhere in our code",
                     f"write its new name there{f', {near[0]}?' if near else ''} or delete it: then"
                     " it comes with the first code that uses it")

    def check_named(self, name, thing, first):
        where = self.steps[thing.named - 1].path
        if first < thing.named and not thing.body():
            self.problem(f"{name}, of {where}, is no function, and is used from step {first} on",
                         "delete it there, or name the function that uses it instead")

    # --- users

    def inner_names(self):
        """Names that a type defines besides itself -> its name: enumerators, inner
        types."""
        found = {}
        for name, thing in self.things.items():
            if name.startswith(("struct_", "enum_")):
                code = "".join(without_comments("".join(piece.lines)).partition("{")[2]
                               for _, piece in thing.pieces)
                inner = re.findall(r"^\t(\w+)(?:,| =|$)", code, re.MULTILINE)
                inner += [f"struct_{tag}" for tag in re.findall(r"struct (\w+) \{", code)]
                found.update((word, name) for word in inner)
        return found

    @functools.cache
    def used(self, text):
        """The things that a text uses."""
        found = set()
        for word in words(text):
            word = self.inner.get(word, word)
            if word.endswith("*"):
                found |= {name for name in self.things if name.startswith(word[:-1])}
            elif word in self.things:
                found.add(word)
        return found

    def find_unused(self):
        """Things that no other thing and no hook uses."""
        used = set()
        for thing in self.things.values():
            for _, piece in thing.pieces:
                used |= self.used("".join(piece.lines)) - {thing.name}
        for found in self.hook_words:
            used |= found & set(self.things)
        return set(self.things) - used

    def why(self, name):
        """When a name comes, and by which user, for --why."""
        if name not in self.things:
            return f"{name} is nowhere in our code"
        thing, first = self.things[name], self.first_step(name)
        users = sorted(other for other in self.states[first]
                       if name in self.uses(self.things[other], first) and other != name)
        hooks = name in self.hook_words[first]
        text = f"{name}: from step {first} on"
        text += ", called by a hook" if hooks else f", used by {', '.join(users)}" if users else ""
        if thing.body() and thing.floor > first:
            return text + f"; a stub until step {thing.floor}, " + \
                ("which names it" if thing.named else f"which lists {thing.body()[0]}")
        return text

    # --- the code after a step

    def uses(self, thing, number):
        """The names that a thing uses after a step."""
        return {name for _, piece in thing.pieces
                for name in self.used("".join(self.lines_of(thing, piece, number)))}

    def is_cut(self, name, number):
        thing = self.things.get(name)
        return thing and thing.named and thing.named > number

    def lines_of(self, thing, piece, number):
        """A piece as it is after a step, once it is there."""
        if is_function(piece) and not piece.other and thing.floor > number:
            return stub_of(piece, self.stub_body(thing, piece, number))
        return [line for lines, element in elements(piece.lines)
                if not element or not any(self.is_cut(name, number)
                                          for name in words("".join(lines)))
                for line in lines]

    def stub_body(self, thing, piece, number):
        self.stubbed.add(thing.name)
        told = [body for step, body in self.stubs.get(thing.name, []) if step <= number]
        body = told[-1] if told else None
        # a step's line names: wins, and so does its line stub
        if body is None and (told or thing.named):
            body = default_body(piece)
        if body is None:
            self.problem(f"{thing.name} is called from step {number} on and comes in step"
                         f" {thing.floor}", self.remedy_of_call(thing.name, piece, number))
        return body or ""

    def remedy_of_call(self, name, piece, number):
        path = self.steps[number - 1].path
        if default_body(piece) is None:
            nothing = f"say in {path} what it returns until then: stub {name} return ...;"
        else:
            nothing = f"add it to the line stubs: of {path} if it may do nothing until then and" \
                f" return 0, false or NULL, else: stub {name} CODE"
        return nothing + "; if it is to come there, add it to the line names:"

    def problem(self, what, remedy):
        """Missing pieces, and their remedies: a line each, without repetition."""
        if all(what.split(" ")[0] != other.split(" ")[0] for other, _ in self.problems):
            self.problems.append((what, remedy))

    def is_with_file(self, name):
        """A directive without users, as pr_fmt, comes with any code of its file."""
        thing = self.things[name]
        return name in self.unused and not thing.named and thing.is_directive()

    def reach(self, number):
        """The names of all things after a step."""
        there, todo = set(), []

        def need(names):
            for name in names - there:
                there.add(name)
                todo.append(name)

        for step in range(number + 1):
            need(self.hook_words[step] & set(self.things))
        need({name for name, thing in self.things.items() if self.is_root(name, thing, number)})
        while todo:
            while todo:
                need(self.uses(self.things[todo.pop()], number))
            files = {file for name in there - self.unused for file in self.full_files(name, number)}
            need({name for name in self.unused if self.things[name].floor <= number
                  and self.things[name].files() <= files and not self.is_with_file(name)})
        return there

    def full_files(self, name, number):
        """The files that have more of a thing than a stub or a declaration."""
        thing = self.things[name]
        return thing.files() if thing.floor <= number else set()

    def is_root(self, name, thing, number):
        """Things that are there from a step on without a user."""
        if thing.named:
            body = thing.body()
            return thing.named <= number and (name in self.unused or
                                              (body and not is_static(body[1])
                                               and name not in self.local))
        if name not in self.unused or self.is_with_file(name):
            return False
        floor = max(self.floor_of(file) for file in thing.files())
        return 0 < floor <= number

    def first_step(self, name):
        return next((number for number, there in enumerate(self.states) if name in there), None)

    @functools.cache
    def has(self, file, number):
        """Whether a file has any code after a step, its own or of a file that it includes."""
        return any(file in self.things[name].files() for name in self.states[number]
                   if not self.is_with_file(name)) or \
            any(self.has(other, number) for other in self.included[file])

    def first_step_of_file(self, file):
        return next(number for number in range(self.last + 1) if self.has(file, number))

    def keeps(self, file, piece, number):
        """Whether a piece of a file is there after a step."""
        if match := re.fullmatch(r'include "(.*)"', piece.name):
            path = os.path.join(os.path.dirname(file), match[1])
            return path not in self.pieces or self.has(path, number)
        if match := re.fullmatch(r"include <(linux/hugepoison\.h|trace/events/hugepoison\.h)>",
                                 piece.name):
            path = "include/" + match[1]
            return self.has(path, number) if path in self.pieces else \
                self.floor_of(path) <= number
        return piece.name.startswith("include ") or piece.name in self.states[number] \
            or self.is_with_file(piece.name)

    def text(self, file, number):
        """A file after a step, None if it is not there yet."""
        if not self.has(file, number):
            return None
        lines = self.kept(file, self.pieces[file], number)
        return "".join(lines) if number == self.last else tidy(lines)

    def kept(self, file, pieces, number):
        """The lines of the pieces that are there; a group without code goes as a whole."""
        lines = []
        for piece in pieces:
            stays, inside = True, []
            own = piece.lines
            if piece.children is None:
                stays = piece.name is None or self.keeps(file, piece, number)
                if stays and piece.name in self.things:
                    own = self.lines_of(self.things[piece.name], piece, number)
            elif piece.end:
                inside = self.kept(file, piece.children, number)
                stays = any(has_code(line) for line in inside)
            if stays:
                lines += own + inside + (piece.end or [])
            else:
                lines.append(GONE + ("\n" if piece.lines[0] == "\n" else ""))
        return lines
