"""A build whose selections differ in accuracy, and its report read back."""

from legodnn.builder.report.page import page
from tests.pages import read_page
from tests.unit.builder.conftest import Folder

CHOICES = ("blocks.sparsity=[0, 0.25, 0.5, 0.75]", "profile.compositions=4", "data.test=taught:batches")
SETTINGS = [word for choice in CHOICES for word in ("--set", choice)]

TAUGHT = """
import parts


def batches():
    '''Images with the labels the network gives them itself, but for some.'''
    found = []
    for images, labels in parts.batches(count=8):
        own = parts.network().eval()(images).argmax(1)
        own[::5] = labels[::5]
        found.append((images, own))
    return found
"""


def telling_folder(path):
    """A folder with a recipe whose selections differ in accuracy."""
    folder = Folder(path)
    folder.write("taught.py", TAUGHT)
    return folder


def read(path):
    return read_page(path.read_text(encoding="utf-8"))


def shown(summary):
    return read_page(page(summary).decode())


def table(document, section):
    return document.all(id=section)[0].all("table")[0].rows()
