"""A live view on a terminal: one screen that shows what runs, what it needs, and what was decided.

    reporter  Live: what is said while frames run goes onto the screen
    facts     what is shown
    screen    the facts as lines of text
    glyphs    characters for heights and bars, widths of text, colours
    terminal  the alternate screen, drawn again and again by a thread, and left whatever happens; suspension: Ctrl-Z

Nothing but the reporter knows networks or controllers.
"""
