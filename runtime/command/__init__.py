"""What `legodnn-run` does, and all that only a command needs.

    main       where it starts: hands the arguments to what they ask for
    run        frames through networks: its arguments; options: from those to a request
    request    Request: what is asked for, understood and checked; Job: the part of one network
    named      values of options for one network of several: NAME=VALUE
    session    open, test, measure, choose, run
    feed       Feed: frames through a network; together: several feeds at once
    choosing   what is chosen for one network alone, and for several together
    evaluate   a data set through a network, judged
    adapting   the controller, as the request wants it
    report     what is said, as text and as JSON
    live/      the same on one refreshing screen
    render/    answers drawn into pictures
    stopping   Ctrl-C and SIGTERM
"""
