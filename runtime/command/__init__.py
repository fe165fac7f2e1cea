"""The command `legodnn-run`.

    main       the entry point
    run        its arguments and help; options: from arguments to a request
    request    Request: the checked arguments; Job: those of one network
    named      options of several networks: NAME=VALUE
    session    opens, tests, measures, chooses, runs
    feed       Feed: frames through a network; together: several feeds in threads
    choosing   selections for one network, and for several together
    evaluate   metrics on a data set
    adapting   the controller of a request
    report     output as text and as JSON
    live/      output on one refreshing screen
    render/    answers drawn into pictures
    stopping   Ctrl-C and SIGTERM
"""
