"""What a person reads about a build.

    text         a plan, line by line (`legodnn-build --plan`)
    page         the HTML report of a finished build: one file, no scripts, nothing fetched from elsewhere
    path         where it goes
    templates    what stands on the page, and where; report.css: how it looks
    summary      what the page is made from
    selections   many selections with their sizes and accuracies: the frontier, the uniform baseline
    seconds      some of them timed on this machine
    figures      the charts, of axes and marks (chart); network: the drawing of the segments; tables: rows
    words        numbers and selections as the page writes them
"""
