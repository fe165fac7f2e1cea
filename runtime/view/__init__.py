"""A live view on a terminal: one screen that shows what runs, what it needs, and what was decided.

    facts     what is shown
    screen    the facts as lines of text
    glyphs    characters for heights and bars, widths of text, colours
    terminal  the alternate screen, drawn again and again by a thread, and left whatever happens; suspension: Ctrl-Z

Nothing here knows networks or controllers.
"""
