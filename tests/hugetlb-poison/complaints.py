# SPDX-License-Identifier: GPL-2.0-only
"""Whether a message of the kernel's log is a complaint: hp_complaints.h for Python."""

import os
import re

HERE = os.path.dirname(os.path.realpath(__file__))


def load():
    """The two lists of the header, each as one pattern."""
    with open(os.path.join(HERE, "hp_complaints.h"), encoding="ascii") as file:
        lists = re.findall(r"\[\] = \{\n(.*?)\n\};", file.read(), re.DOTALL)
    return [re.compile("|".join(f"(?:{text})" for text in re.findall(r'^\t"(.*)",', one, re.M)))
            for one in lists]


COMPLAINTS, NO_COMPLAINTS = load()


def is_complaint(message):
    """Of a message without its time stamp."""
    return bool(COMPLAINTS.search(message)) and not NO_COMPLAINTS.search(message)
