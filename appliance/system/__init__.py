"""What the console and the command line ask of the machine itself: units, logs, links, firewall, space, address.

Nothing here knows a screen; every failure is an `ApplianceError`. Nothing runs when a module is imported.
"""
