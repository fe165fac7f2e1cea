"""What `legodnn-run` does once it has been called.

    request    Request: what is asked for, understood and checked; Job: the part of one network
    options    from the command line's options to a request
    named      values of options for one network of several: NAME=VALUE
    session    open, test, measure, choose, run
    feed       Feed: frames through a network; together: several feeds at once
    choosing   what is chosen for one network alone, and for several together
    evaluating a data set through a network, judged
    adapting   the controller, as the request wants it
    report     what is said, as text and as JSON; live: on one refreshing screen
    stopping   Ctrl-C and SIGTERM
"""
