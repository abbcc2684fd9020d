"""The mailed form of our code: each file of mm/hugepoison/ is an object.

In a tree that our files are mounted into, a stock file includes ours at its end: so ours
reach its statics and those of each other, and nothing of the tree has to be global. No
maintainer takes that. In the patches

 - functions and variables that another file uses are not static, and internal.h declares
   them; those that only KUnit tests use are VISIBLE_IF_KUNIT;
 - types and macros that another file uses are in internal.h;
 - stock's functions, variables, types and macros that ours use come into stock.h by a patch
   of their own, which takes their "static" away;
 - the files that only include others are not there, and a Makefile is.

All of it follows from the names that the files use, so nothing is listed here, and no
line of the kernel is kept here.
"""

import os
import re

from series_code import Misfit, Reader, is_function, without_comments, words

DIRECTORY = "mm/hugepoison/"
TESTS = DIRECTORY + "tests/"
HEADER = DIRECTORY + "internal.h"
TESTS_HEADER = TESTS + "internal.h"
STOCK_HEADER = DIRECTORY + "stock.h"
# A global name says whose it is.
OURS = re.compile(r"(struct_|enum_)?hugep(oison|age)_|HUGEPOISON_")
SECTION = re.compile(r"^/\* ([\w-]+)\.c: [^/]*\*/\n", re.MULTILINE)
# The types of variables that a macro defines. A hash table has a macro to declare it.
DEFINED_BY = {"DEFINE_MUTEX": "struct mutex", "DEFINE_SPINLOCK": "spinlock_t",
              "LIST_HEAD": "struct list_head", "LLIST_HEAD": "struct llist_head",
              "DECLARE_WORK": "struct work_struct",
              "DECLARE_DELAYED_WORK": "struct delayed_work"}
NOT_DECLARED = re.compile(r"\b(?:__init|__maybe_unused|noinline\w*) ")
MAKEFILE = "# SPDX-License-Identifier: GPL-2.0-only\n"
STOCK_TOP = """\
/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory errors in hugepages: names of other files of mm/ that mm/hugepoison/ uses.
 */
#ifndef _MM_HUGEPOISON_STOCK_H
#define _MM_HUGEPOISON_STOCK_H

#include <linux/hugetlb.h>
#include <linux/mm.h>

"""
STOCK_END = "\n#endif /* _MM_HUGEPOISON_STOCK_H */\n"


def is_list(text):
    """Whether a file only includes others, for the mounted form."""
    return bool(re.search(r'^#include "[\w/-]+\.c"$', text, re.MULTILINE))


# --- pieces --------------------------------------------------------------------


def leaves(pieces):
    """All pieces, without the groups between #if and #endif."""
    for piece in pieces:
        if piece.children is None:
            yield piece
        else:
            yield from leaves(piece.children)


def rewritten(pieces, change):
    """The text of pieces, each by change(piece) as lines."""
    text = ""
    for piece in pieces:
        if piece.children is None:
            text += "".join(change(piece))
        else:
            text += "".join(piece.lines) + rewritten(piece.children, change)
            text += "".join(piece.end or [])
    return text


def begin_of(lines):
    """The line that the code of a piece begins with, behind its comment."""
    inside = False
    for number, line in enumerate(lines):
        text = line.strip()
        if inside or text.startswith("/*"):
            inside = "*/" not in text
        elif text and not text.startswith("//"):
            return number
    raise Misfit(f"no code in: {''.join(lines)}")


def code_of(piece):
    """A piece without its comment."""
    return piece.lines[begin_of(piece.lines):]


def is_type(piece):
    """Whether it is a type or a macro, which a header can have as it is."""
    code = "".join(code_of(piece))
    return bool(re.match(r"#\s*define\b|(struct|enum)\s+\w+\s*\{", code))


def is_macro(piece):
    return bool(piece.name) and code_of(piece)[0].startswith("#")


def is_static(piece):
    return bool(piece.name) and code_of(piece)[0].startswith("static ")


def is_prototype(piece):
    """Whether it declares a function that is defined elsewhere."""
    code = without_comments("".join(code_of(piece))).strip()
    return code.endswith(");") and "=" not in code and "{" not in code \
        and bool(re.match(r"(?:\w+[\s*]+)+(?![A-Z_]+\()\w+\(", code))


def is_wrapper(piece):
    """Whether it is a macro that calls the function of its own name."""
    code = without_comments("".join(code_of(piece)))
    return is_macro(piece) and len(re.findall(rf"\b{re.escape(piece.name)}\b", code)) > 1


def stock_name(piece):
    """The name that a piece of stock defines, which may begin with underscores."""
    if is_function(piece) or (piece.name and is_prototype(piece)):
        return re.search(r"(\w+)\s*\(", "".join(code_of(piece)))[1]
    return piece.name


def indented(line, width):
    return "\t" * (width // 8) + " " * (width % 8) + line.lstrip()


def realigned(lines, first):
    """The lines of a function with another first one, the arguments still below the
    parenthesis."""
    before = lines[0]
    if "(" not in before:
        return [first] + lines[1:]
    old, new = (line.index("(") + 1 for line in (before, first))
    rest = [indented(line, new) if len(line) - len(line.lstrip()) and
            len(re.match(r"\s*", line)[0].expandtabs()) == old else line for line in lines[1:]]
    return [first] + rest


def without_static(piece, instead=""):
    """The lines of a function or variable that is not static, or instead something else."""
    at = begin_of(piece.lines)
    code = piece.lines[at:]
    end = code.index("{\n") if is_function(piece) else 1
    first = re.sub(r"^static ", instead, code[0])
    return piece.lines[:at] + realigned(code[:end], first) + code[end:]


def prototype(piece):
    code = code_of(piece)
    head = code[:code.index("{\n")]
    first = NOT_DECLARED.sub("", re.sub(r"^static ", "", head[0]))
    head = "".join(realigned(head, first)).rstrip()
    return without_comments(head) + ";\n"


def declaration(piece):
    """How a header declares a function or variable."""
    if is_function(piece):
        return prototype(piece)
    code = re.sub(r"^static\s+", "", without_comments("".join(code_of(piece))).strip())
    if match := re.match(r"DEFINE_HASHTABLE(\(.*\));", code):
        return f"extern DECLARE_HASHTABLE{match[1]};\n"
    if match := re.match(r"(\w+)\((\w+)[^=]*\);", code):
        if match[1] not in DEFINED_BY:
            raise Misfit(f"{match[2]} is defined by {match[1]}, and used by another file:"
                         " say in DEFINED_BY of scripts/series_objects.py what that defines")
        return f"extern {DEFINED_BY[match[1]]} {match[2]};\n"
    head = " ".join(re.sub(r"\[\]\s*$", "[]", code.partition("=")[0]).rstrip("; \n").split())
    return "extern " + re.sub(r"( __\w+)+$", "", head) + ";\n"


def blocks(pieces):
    """Pieces of one level that stay together: macros without an empty line in between."""
    found = []
    for piece in pieces:
        if found and is_macro(piece) and is_macro(found[-1][-1]) and piece.lines[0] != "\n":
            found[-1].append(piece)
        elif piece.name:
            found.append([piece])
    return found


# --- our files -------------------------------------------------------------------


class Mailed:
    """Our files as the patches have them, made from those that are mounted."""

    def __init__(self, texts, order):
        """Path -> text of our code; the paths of its files in the order of the layers."""
        self.order = order
        self.names = {piece.name for text in texts.values()
                      for piece in leaves(Reader(text).pieces())
                      if piece.name and not is_wrapper(piece)}
        self.tests = [DIRECTORY + name for _, text in sorted(texts.items()) if is_list(text)
                      for name in re.findall(r'^#include "(tests/.*\.c)"$', text, re.MULTILINE)]
        texts = {file: text for file, text in texts.items() if not is_list(text)}
        self.pieces = {file: Reader(text).pieces() for file, text in texts.items()}
        self.words = {file: words(text) for file, text in texts.items()}
        self.homes = self.find_homes()
        self.moved, self.shared, self.tested = set(), set(), set()
        self.sort()
        self.texts = {file: self.text(file) for file in texts}
        for header in HEADER, TESTS_HEADER:
            if header in self.texts:
                self.texts[header] = self.header(header)

    def local(self):
        """The names that are global for our own files only."""
        return self.shared | self.tested

    def sources(self):
        """Our C files, bottom first, then the tests, which run as they do where the files are
        mounted."""
        known = [file for file in self.order + self.tests
                 if file in self.pieces and file.endswith(".c")]
        return known + sorted(file for file in self.pieces
                              if file.endswith(".c") and file not in known)

    def find_homes(self):
        """The names that one C file defines and no header has -> that file and piece."""
        homes, elsewhere = {}, set()
        for file, pieces in self.pieces.items():
            for piece in leaves(pieces):
                if piece.name and not piece.name.startswith("include "):
                    if file.endswith(".c") and not is_prototype(piece):
                        homes.setdefault(piece.name, []).append((file, piece))
                    else:
                        elsewhere.add(piece.name)
        return {name: places for name, places in homes.items() if name not in elsewhere}

    def sort(self):
        """Which names move to a header, lose their static, or lose it for tests only."""
        for name, places in self.homes.items():
            files = {file for file, _ in places}
            users = {file for file, found in self.words.items() if name in found} - files
            if not users:
                continue
            self.check_global(name, files)
            for file in users:
                self.check_includes(file, name)
            tests_only = all(file.startswith(TESTS) for file in users)
            if is_type(places[0][1]):
                self.moved.add(name)
            elif is_static(places[0][1]):
                inside = files.pop().startswith(TESTS)
                (self.tested if tests_only and not inside else self.shared).add(name)
        self.add_needed()

    def check_global(self, name, files):
        if not OURS.match(name):
            raise Misfit(f"{name} of {' and '.join(sorted(files))} is used by another file, and"
                         " would be global: rename it, to begin with hugepoison_")
        if len(files) > 1:
            raise Misfit(f"{name} is in {' and '.join(sorted(files))}, and would be global:"
                         " rename one of them")

    def check_includes(self, file, name):
        if file.endswith(".c") and not any(piece.name == 'include "internal.h"'
                                           for piece in leaves(self.pieces[file])):
            raise Misfit(f"{file} uses {name} of another file, and does not include internal.h:"
                         " as an object it needs that")

    def add_needed(self):
        """Types and macros of C files that headers need for what they now have."""
        needed = list(self.moved | self.shared | self.tested)
        while needed:
            for file, piece in self.homes[needed.pop()]:
                text = "".join(code_of(piece)) if is_type(piece) else declaration(piece)
                block = next((block for block in self.blocks(file) if piece in block), [])
                names = {other.name for other in block if is_type(piece)} | words(text)
                found = {name for name in names if name in self.homes and name not in self.moved
                         and is_type(self.homes[name][0][1])}
                self.moved |= found
                needed += found

    def blocks(self, file):
        return blocks(list(leaves(self.pieces[file])))

    # --- the text of a file

    def change(self, piece):
        """The lines of a piece in its C file."""
        if not piece.name or piece.name not in self.homes:
            return [] if piece.name and is_prototype(piece) else piece.lines
        if piece.name in self.moved:
            return []
        if piece.name in self.shared:
            return without_static(piece)
        if piece.name in self.tested:
            return without_static(piece, "VISIBLE_IF_KUNIT ")
        return piece.lines

    def text(self, file):
        if not file.endswith(".c"):
            return "".join(rewritten(self.pieces[file], lambda piece: piece.lines))
        text = rewritten(self.pieces[file], self.change)
        if "VISIBLE_IF_KUNIT " in text:
            text = text.replace("#include", "#include <kunit/visibility.h>\n#include", 1)
        return text

    # --- the headers

    def header(self, header):
        """A header with all that its directory's files have to share."""
        inside = header == TESTS_HEADER
        files = [file for file in self.sources() if file.startswith(TESTS) == inside]
        text, mark, end = self.texts[header].rpartition("\n#endif /* _MM")
        top, sections = self.sections(text)
        if not inside:
            top = top.replace('#include "../internal.h"\n',
                              '#include "../internal.h"\n#include "stock.h"\n')
        top = top.rstrip("\n") + "\n"
        for file in files:
            top += "".join(self.types(file))
        for file in files:
            self.add_declarations(sections, file)
        if tests := [self.declare(name) for file in files for name in self.names_of(file, self.tested)]:
            sections["tests"] = "/* only KUnit tests use these outside of their files */\n" \
                f"#if IS_ENABLED(CONFIG_KUNIT)\n{''.join(tests)}#endif\n"
        parts = [part.rstrip("\n") for part in (top, *sections.values()) if part]
        return "\n\n".join(parts) + "\n" + mark + end

    def sections(self, text):
        """The header's top, and what it declares of each file, in their order."""
        parts = SECTION.split(text)
        found = {match[1]: (match[0] + body).rstrip("\n") + "\n"
                 for match, body in zip(SECTION.finditer(text), parts[2::2])}
        names = [os.path.basename(file)[:-2] for file in self.sources()]
        if set(found) - set(names):
            raise Misfit(f"mm/internal.h declares names of {' '.join(sorted(set(found) - set(names)))},"
                         " which is not there: write the file's new name there")
        return parts[0], {name: found.get(name, "") for name in names}

    def names_of(self, file, among):
        """Names that a file defines, in its order."""
        return [piece.name for piece in leaves(self.pieces[file])
                if piece.name in among and self.homes[piece.name][0] == (file, piece)]

    def declare(self, name):
        return declaration(self.homes[name][0][1])

    def types(self, file):
        for piece in leaves(self.pieces[file]):
            if piece.name in self.moved:
                yield from piece.lines

    def add_declarations(self, sections, file):
        key = os.path.basename(file)[:-2]
        added = "".join(self.declare(name) for name in self.names_of(file, self.shared))
        if added and not sections[key]:
            sections[key] = f"/* {key}.c: {self.title(file)} */\n"
        sections[key] += added

    def title(self, file):
        """The subject of a file, from the comment at its head."""
        head = "".join(self.pieces[file][0].lines)
        subject = re.search(r"(?:Memory errors in hugepages|KUnit): (.*?)\.\n", head, re.DOTALL)
        if not subject:
            raise Misfit(f"{file}: the comment at its head does not begin with its subject: write"
                         " 'Memory errors in hugepages: ...' there")
        return re.sub(r"\s*\n \*\s*", " ", subject[1])

    # --- the build

    def makefiles(self, files):
        """The Makefiles for those of our files that are there."""
        return {directory + "Makefile": self.makefile(directory, files)
                for directory in (DIRECTORY, TESTS)
                if any(os.path.dirname(file) + "/" == directory and file.endswith(".c")
                       for file in files)}

    def makefile(self, directory, files):
        names = [os.path.basename(file)[:-2] for file in self.sources()
                 if file in files and os.path.dirname(file) + "/" == directory]
        text = MAKEFILE + "".join(f"obj-y += {name}.o\n" for name in names)
        if directory == DIRECTORY and any(file.startswith(TESTS) for file in files):
            text += "obj-$(CONFIG_HUGEPOISON_KUNIT_TEST) += tests/\n"
        return text

    # --- stock's files

    def uses_of_stock(self):
        """The names that our objects use and do not define: the statics of stock among them."""
        prototypes = {piece.name for pieces in self.pieces.values() for piece in leaves(pieces)
                      if piece.name and is_prototype(piece)}
        used = {name for file, found in self.words.items() if file.startswith(DIRECTORY)
                for name in found}
        return (used - self.names) | prototypes


class Stock:
    """A stock file of which our files use statics."""

    def __init__(self, text, used):
        """Its text, and the names that our files use."""
        self.pieces = Reader(text).pieces()
        undefined = set(re.findall(r"^#undef (\w+)", text, re.MULTILINE))
        self.moved, self.shared = [], []
        for block in blocks(list(leaves(self.pieces))):
            if not any(stock_name(piece) in used - undefined for piece in block):
                continue
            for piece in block:
                if is_type(piece) or (is_static(piece) and " inline " in code_of(piece)[0]):
                    self.moved.append(piece)
                elif is_static(piece):
                    self.shared.append(piece)

    def change(self, piece):
        if piece in self.moved or (piece in self.shared and is_prototype(piece)):
            return []
        return without_static(piece) if piece in self.shared else piece.lines

    def text(self):
        """The file with the header included, and without the static of what that declares."""
        if not self.moved and not self.shared:
            return rewritten(self.pieces, lambda piece: piece.lines)
        lines = rewritten(self.pieces, self.change).splitlines(keepends=True)
        at = max(n for n, line in enumerate(lines) if re.match(r'#include "[\w.-]+\.h"$', line))
        return "".join(lines[:at + 1] + [f'#include "{STOCK_HEADER.removeprefix("mm/")}"\n']
                       + lines[at + 1:])

    def section(self, file):
        """The file's part of the header."""
        types = "".join("".join(piece.lines) for piece in self.moved).strip("\n")
        told = dict.fromkeys(declaration(piece) for piece in self.shared
                             if not is_prototype(piece))
        parts = [types + "\n" if types else "", "".join(told)]
        body = "\n".join(part for part in parts if part)
        return f"\n/* {os.path.basename(file)} */\n{body}" if body else ""


def private_headers(text):
    """The headers beside a stock file that it includes."""
    return re.findall(r'^#include "([\w-]+\.h)"$', text, re.MULTILINE)


def declares(text, used):
    """Whether a header declares one of the used names."""
    return any(piece.name and stock_name(piece) in used for piece in leaves(Reader(text).pieces()))


def stock_header(stocks, headers):
    """The header of what our files use of stock's, by path, with those of stock's headers."""
    includes = "".join(f'#include "../{header}"\n' for header in headers)
    return STOCK_TOP + includes + "".join(stock.section(file) for file, stock in stocks.items()) \
        + STOCK_END
