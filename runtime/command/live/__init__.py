"""A live view on a terminal: one screen with selections, resources and decisions.

    reporter  Live: a reporter that shows the screen while frames run
    view      View: the values on the screen
    screen    Screen: a view as lines of text
    glyphs    characters for heights and bars, widths of text, colours
    terminal  Terminal: the alternate screen, redrawn by a thread and always left; suspension: Ctrl-Z

Only the reporter knows networks and controllers.
"""
