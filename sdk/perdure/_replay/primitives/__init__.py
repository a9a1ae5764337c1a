"""What workflow code gets for asyncio's own groups, waits, deadlines and locks: the same on every Python version.

asyncio changes between versions: how many steps a call takes, in which order it looks at a set of tasks, whether a cancel is kept.
Each of these moves what a workflow asks for, and a run that began on one version would be blocked on another. So a run that began with
the flag CREATION_ORDER gets these classes and functions, which belong to Perdure. A change of what they do needs a flag of its own.
`substitute` puts them in asyncio's place, for code on a workflow loop and for nobody else.
"""
