"""What a person reads about a build.

    text         a plan, line by line (`legodnn-build --plan`)
    page         the HTML report of a finished build: one file, no scripts, nothing fetched from elsewhere
    facts        what the page is made from
    selections   many selections with their sizes and accuracies: the frontier, the uniform baseline
    seconds      some of them timed on this machine
    figures      the charts; network: the drawing of the segments; tables: everything in rows
    chart, markup, report.css   axes and marks as SVG, elements whose text is always escaped, how it all looks
"""
