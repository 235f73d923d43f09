"""A page in the browser on a server of personas: talk to them, blend them, make them, look inside.

:mod:`prosopon.page.blocks` needs gradio; the other files are what it shows, without it.
"""
