"""The documents and what keeps them true.

    documents      which documents there are, their blocks, links and generated parts
    generated      the parts that are made from the code: recipe keys, options, exit statuses, operators
    commands       the parsers of both commands, and how a command runs in this process
    shell          a line of a shell block: what of it runs, what of it is checked
    substitutions  the smaller numbers, files and networks that blocks run with in the tests

    python -m tests.docs            says which generated parts are stale
    python -m tests.docs --write    writes them

`tests/unit/test_docs.py` checks all of it.
"""
