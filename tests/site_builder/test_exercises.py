"""What a reader can write, at the foot of a page, and the command that grades it."""

from __future__ import annotations

import re

from site_builder.build import Builder

from .conftest import Tree

PAGE = '''"""
---
title: Waves
summary: Strings that swing.
exercises: [step, Wave.at]
---

# Waves
"""


def step(x):
    """
    ## One step
    """
    return x + 1


class Wave:
    """
    ## Exercises

    Of a wave.
    """

    def at(self, x):
        return step(x)
'''
COMMAND = '[tool.site_builder]\ngrader = "python -m grade"\n'


def box(tree: Tree, settings: str) -> str:
    root = tree({"pyproject.toml": settings, "a wave.py": PAGE})
    assert Builder(root, root / "site").build().problems == ()
    page = (root / "site/a wave.html").read_text()
    assert page.count('id="exercises"') == 1
    assert page.index('href="#exercises">Exercises</a></li>') < page.index('id="exercises"')
    found = re.search(r'<section class="record exercises".*?</section>', page, re.DOTALL)
    assert found
    assert page.count('id="exercises-section"') == 1
    return found[0]


def test_they_lead_to_their_sections(tree: Tree) -> None:
    shown = box(tree, "")
    for name, anchor in (("step", "one-step"), ("Wave.at", "exercises-section")):
        assert f'<a href="#{anchor}"><code>{name}</code></a>' in shown
    assert ">Write " in shown
    assert "yourself.</p>" in shown
    assert 'class="run' not in shown


def test_a_project_may_have_a_command_that_grades(tree: Tree) -> None:
    shown = box(tree, COMMAND)
    assert "python -m grade &#39;a wave.py&#39;</code>" in shown
    assert "without their bodies" in shown
