"""`taosr-she bench serve`: our service against a plain one over transformers, overload, and a soak.

`measure` runs the comparison: `plain` is the other service, `ours` ours with switches, `work` the requests, `load` the
clients. `soak` lets clients of all kinds loose on a service under a supervisor and compares every answer.
"""
