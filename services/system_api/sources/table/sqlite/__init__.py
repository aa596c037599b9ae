"""Tables of SQLite, which lets one transaction write at a time and shows what it wrote when it ends.

By key all that is there is final, for keys are given in the order of the commits. By time nothing tells how old a time
is when its transaction commits: what is older than `overlap` and the grain of clocks is final, and a row that turns up
later than that is missed.
"""
