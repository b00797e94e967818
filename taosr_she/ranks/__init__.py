"""One run in several processes, started by torchrun: rank 0 leads, the others work for it.

Rank 0 runs every command and every stage as a single process does: it alone reads, decides, and writes files. Whatever
runs a model over many rows (sampling, label probabilities, gradients) is split: each of the other processes has a copy
of the model and runs its share of the rows. So a run has the same random numbers, order and files with any number of
processes, and a stage that splits nothing just runs on rank 0. Without torchrun, every function here only calls what it
is given.

`group` has the processes and the messages between them, `replicas` the copies of models, and `work` splits work.
`launch` starts and ends all this for the command line. torch is imported only if torchrun has started the process.
"""
