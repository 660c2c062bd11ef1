"""What the installation looks like: name, colour, logo and links of every page and mail.

    documents   what may be said, each part checked; what others copy
    changes     the change, with its event
    store       named SQL
    api         `/api/v1/branding`

How a colour becomes readable, and which pictures are taken, stands in `watchword_web.colours` and `.images`.
"""
